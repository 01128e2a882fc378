"""`cacheserver verify-model`: what it reads, asks, counts and refuses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cli import main
from cacheserver.core.errors import SettingsError
from cacheserver.simulated import Directives, Simulated, SimulatedSettings
from cacheserver.simulated.directives import Fault
from cacheserver.verification import labelled_pairs, measurement, prompt
from cacheserver.verification.measurement import Measured
from tests.house import serving

ROWS = [
    ("How do I reset my password?", "how to reset a password", "Open the settings.", "yes", "ours"),
    ("How do I reset my password?", "How do I reset my router?", "In settings.", "no", "ours"),
    ("Capital of France?", "What is the weather in Rome?", "Paris.", "no", "others"),
]
COLUMNS = ("question_a", "question_b", "answer", "label", "set")


def table(folder: Path, rows: Any = ROWS, name: str = "pairs.tsv", separator: str = "\t") -> Path:
    path = folder / name
    path.write_text("".join(separator.join(row) + "\n" for row in (COLUMNS, *rows)))
    return path


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHESERVER_UPSTREAM", "simulated")


def test_it_prints_rates_by_set_and_the_settings_that_state_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify-model", str(table(tmp_path))]) == 0
    out, err = capsys.readouterr()
    assert "3 calls of claude-haiku-5-5: about $0.0" in err
    assert "3 of 3 pairs answered" in out
    assert "these figures say nothing of Claude" in out
    assert "sensitivity  100.0% (20.7% to 100.0%) of 1" in out
    # The simulated rule finds "reset" and "How" in common, of four words in all.
    assert "false yes    50.0% (9.5% to 90.5%) of 2" in out
    assert "\nothers\n  sensitivity  no pairs\n  false yes    0.0% (0.0% to 79.3%) of 1" in out
    assert "CACHESERVER_VERIFY_SENSITIVITY=0.206\n" in out
    assert "CACHESERVER_VERIFY_FALSE_YES=0.906\n" in out


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.csv", "pairs.jsonl"])
def test_a_table_and_json_lines_say_the_same(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith("jsonl"):
        path = tmp_path / name
        lines = (dict(zip(COLUMNS, row, strict=True)) for row in ROWS)
        path.write_text("\n".join(map(json.dumps, lines)))
    else:
        path = table(tmp_path, name=name, separator="\t" if name.endswith("tsv") else ",")
    assert main(["verify-model", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulated"] is True
    assert (found["pairs"], found["failed"], found["too_long"]) == (3, 0, 0)
    assert found["sensitivity"] == {"share": 1.0, "low": 0.206543, "high": 1.0, "of": 1}
    assert found["false_yes"]["share"] == 0.5
    assert set(found["sets"]) == {"ours", "others"}
    assert found["seconds"]["p50"] > 0
    assert 0 < found["cost_usd_per_call"] < 0.01


async def test_it_asks_with_the_prompt_of_the_server_and_counts_what_it_is_billed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claude = Simulated(SimulatedSettings(direct=lambda body: Directives(text="1")))
    async with serving(claude.app) as url:
        monkeypatch.setenv("CACHESERVER_UPSTREAM", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        arguments = ["verify-model", str(table(tmp_path)), "--json"]
        assert await asyncio.to_thread(main, arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["false_yes"]["share"] == 1.0
    assert found["cost_usd"] == pytest.approx(sum(one.nanodollars for one in claude.invoice) / 1e9)
    bodies = [one.body for one in claude.requests]
    assert len(bodies) == 3
    for body in bodies:
        data = json.loads(body["messages"][0]["content"])
        (stored,) = data["stored"]
        assert data["question"] in {row[1] for row in ROWS}
        again = prompt.Stored(stored["question"], stored["answer"], 0)
        same = prompt.body_of(data["question"], {}, [again], model=body["model"], now=0)
        assert {**body, "messages": None} == {**same, "messages": None}


async def test_failed_calls_are_tried_again_and_are_in_no_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def direct(body: Any) -> Directives:
        if "Rome" in str(body):
            return Directives(fault=Fault("error", status=500))
        return Directives(text="NONE")

    claude = Simulated(SimulatedSettings(direct=direct))
    async with serving(claude.app) as url:
        monkeypatch.setenv("CACHESERVER_UPSTREAM", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("CACHESERVER_RETRIES", "0")
        arguments = ["verify-model", str(table(tmp_path)), "--json"]
        assert await asyncio.to_thread(main, arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["failed"], found["false_yes"]["of"]) == (1, 1)
    assert len(claude.requests) == 4


async def test_a_refusal_that_every_call_would_meet_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Directives(fault=Fault("error", status=401))
    claude = Simulated(SimulatedSettings(direct=lambda body: fault))
    async with serving(claude.app) as url:
        monkeypatch.setenv("CACHESERVER_UPSTREAM", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        assert await asyncio.to_thread(main, ["verify-model", str(table(tmp_path))]) == 2
    assert "Claude answers 401" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-usd", "0.0001"], "`--max-usd`: the calls may cost $0.00"),
        (["--max-usd", "0"], "`--max-usd` must be more than 0"),
        (["--max-usd", "nan"], "`--max-usd` must be more than 0"),
        (["--at-once", "0"], "`--at-once` must be 1 or more"),
        (["--model", "claude-unheard-of"], "`claude-unheard-of` has no price"),
    ],
)
def test_what_it_cannot_do_is_refused_before_a_call(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify-model", str(table(tmp_path)), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_pairs_that_the_server_would_not_ask_about_are_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = ("What is the plan?", "Tell me the plan", "word " * 5_000, "yes", "ours")
    assert main(["verify-model", str(table(tmp_path, [*ROWS, long]))]) == 0
    out, err = capsys.readouterr()
    assert "3 calls of" in err
    assert "1 pair longer than CACHESERVER_VERIFY_MAX_TOKENS" in out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", "", "must be named .tsv, .csv or .jsonl"),
        ("p.tsv", "", "line 1: the column `question_a` is missing"),
        ("p.tsv", "question_a\tquestion_b\tanswer\tlabel\n", "has no pairs"),
        ("p.tsv", "question_a\tquestion_b\tanswer\tlabel\na\tb\tc\n", "line 2: has 3 fields"),
        (
            "p.tsv",
            "question_a\tquestion_b\tanswer\tlabel\na\tb\tc\tmaybe\n",
            "line 2: `label` must be one of 1, yes",
        ),
        (
            "p.csv",
            "question_a,question_b,answer,label\na,b,c,yes\na,b,,no\n",
            "line 3: `answer` must be a text, not empty",
        ),
        ("p.csv", 'question_a,question_b,answer,label\n"a\n', "line 2: "),
        ("p.jsonl", "[]\n", "line 1: must be a JSON object"),
        ("p.jsonl", "{}\n", "line 1: `question_a` must be a text, not empty"),
        (
            "p.jsonl",
            '{"question_a": "\\ud800", "question_b": "b", "answer": "c", "label": true}\n',
            "line 1: `question_a` has half of a surrogate pair",
        ),
        (
            "p.jsonl",
            '{"question_a": "a", "question_b": "b", "answer": "c", "label": 1, "set": 3}\n',
            "line 1: `set` must be a text",
        ),
    ],
)
def test_a_bad_file_is_refused_by_line_and_field(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        labelled_pairs.read(path)
    assert message in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tsv", tmp_path / "latin.tsv"):
        (tmp_path / "latin.tsv").write_bytes(b"question_a\xff")
        with pytest.raises(SettingsError, match=path.name):
            labelled_pairs.read(path)


def test_rates_are_stated_at_the_unfavourable_end() -> None:
    replies = [Measured(True, "", "yes")] * 95 + [Measured(True, "", "no")] * 5
    replies += [Measured(False, "", "yes")] * 2 + [Measured(False, "", "no")] * 98
    stated = measurement.settings(measurement.figures(replies))
    assert stated == {
        "CACHESERVER_VERIFY_SENSITIVITY": "0.888",
        "CACHESERVER_VERIFY_FALSE_YES": "0.071",
    }
    assert measurement.settings(measurement.figures(replies[:100])).keys() == {
        "CACHESERVER_VERIFY_SENSITIVITY"
    }


def test_a_quantile_is_a_value_that_was_seen() -> None:
    values = [float(number) for number in range(1, 21)]
    assert measurement.quantile(values, 0.5) == 10
    assert measurement.quantile(values, 0.95) == 19
    assert measurement.quantile([3.0], 0.95) == 3
