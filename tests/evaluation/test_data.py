"""A data folder as it is read, and what is said of one that cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.evaluation import data
from scripts.evaluation.meanings import DIRECTED, PARAMETRIC, meaning

ROOT = Path(__file__).parents[2]


def write(folder: Path, name: str, text: str) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / name).write_text(text)
    return folder


def same(one: str, other: str, intent: str) -> bool:
    return meaning(one, intent, parametric=True, rule="reworded") == meaning(
        other, intent, parametric=True, rule="reworded"
    )


def test_a_folder_is_known_by_its_columns(tmp_path: Path) -> None:
    write(tmp_path, "near.tsv", "query_a\tquery_b\tlabel\na\tb\t1\na\tc\t0\n")
    write(tmp_path, "talk.tsv", "query\tintent\nhello\tgreet\nwhat\toos\n")
    write(tmp_path, "log.tsv", "Date\tQuery\n2020-01-02\tmasks\n")
    write(tmp_path, "notes.tsv", "something\telse\n1\t2\n")
    found = data.read(tmp_path)
    assert [p.label for p in found.pairs["mine/near"]] == [1, 0]
    assert [a.meaning for a in found.streams["mine"]] == ["greet", "oos: what"]
    assert found.logs["mine"] == [data.Logged("2020-01-02", "masks")]
    assert not data.read(tmp_path, "talk").pairs


def test_only_the_slice_that_resembles_is_judged_where_resemblance_is_given(tmp_path: Path) -> None:
    head = "query_a\tquery_b\tlabel\tchar4_jaccard\n"
    write(tmp_path, "q.tsv", f"{head}a b\ta c\t1\t0.7\nx\ty\t0\t0.1\nsame\tsame\t0\t1.0\n")
    found = data.read(tmp_path).pairs
    assert [p.a for p in found["mine/q hard"]] == ["a b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("query_a\tquery_b\tlabel\na\tb\t1\na\tc\tyes\n", "line 3: `label` is 'yes', not 0 or 1"),
        ("query_a\tquery_b\tlabel\na\tb\n", "line 2: 2 columns, the header has 3"),
        (
            "query_a\tquery_b\tlabel\tchar4_jaccard\na\tb\t1\thigh\n",
            "line 2: `char4_jaccard` is 'high', not a number",
        ),
        ("query\tintent\n\x00caf\udce9\tx\n", "line 2: not UTF-8"),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_line(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/bad.tsv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(data.Malformed) as problem:
        data.read(tmp_path)
    assert str(problem.value) == f"`{tmp_path / 'mine/bad.tsv'}`, {told}"


def test_the_command_ends_with_2_and_one_line_for_a_bad_folder(tmp_path: Path) -> None:
    write(tmp_path, "bad.tsv", "query_a\tquery_b\tlabel\na\tb\t7\n")
    command = [sys.executable, "-m", "scripts.evaluation.command", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "bad.tsv`, line 2" in done.stderr


def test_a_folder_without_a_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(data.Malformed, match="holds no set"):
        data.read(tmp_path)
    write(tmp_path, "near.tsv", "query_a\tquery_b\tlabel\na\tb\t1\n")
    with pytest.raises(data.Malformed, match="whose name contains `other`"):
        data.read(tmp_path, "other")


def test_parametric_intents_have_a_stream_for_each_rule_where_rows_have_a_domain(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.tsv").write_text("query\tintent\tdomain\nto Rome please\tweather\ttravel\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.tsv").write_text("query\tintent\nwhat rate\texchange_rate\n")
    streams = data.read(tmp_path).streams
    assert streams["a"][0].meaning == "weather: to rome please"
    assert streams["a, reworded"][0].meaning == "weather: rome to"
    assert streams["b"][0].meaning == "exchange_rate"
    assert "b, reworded" not in streams


@pytest.mark.parametrize(
    ("one", "other", "intent"),
    [
        ("what's the weather in Oslo", "can you tell me the weather in oslo please", "weather"),
        ("set a timer for five minutes", "i need you to set a 5 minute timer for me", "timer"),
        ("in french, how do i say hello", "how do you say hello in french", "weather"),
        ("how do i get to target by bus", "i need to know how to get to target by bus", "traffic"),
    ],
)
def test_another_wording_of_a_parametric_question_is_the_same(
    one: str, other: str, intent: str
) -> None:
    assert same(one, other, intent)


@pytest.mark.parametrize(
    ("one", "other", "intent"),
    [
        ("weather in oslo", "weather in bergen", "weather"),
        ("weather in oslo", "weather in oslo tomorrow", "weather"),
        ("set a timer for 5 minutes", "set a timer for 15 minutes", "timer"),
        ("wake me at 6 am", "wake me at 6 pm", "alarm"),
        ("dollars to euros", "euros to dollars", "exchange_rate"),
        ("a table for 4 at 7", "a table for 7 at 4", "restaurant_reservation"),
        ("remind me to call mom", "remind me not to call mom", "reminder_update"),
        ("how do you say hello in french", "how do you say hi in french", "translate"),
    ],
)
def test_whatever_an_answer_hangs_on_keeps_two_questions_apart(
    one: str, other: str, intent: str
) -> None:
    assert not same(one, other, intent)


def test_what_has_a_direction_is_parametric() -> None:
    assert DIRECTED <= PARAMETRIC
