"""`cacheserver evaluate`: the gate, and that its decision is the server's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cacheserver.analysis.evaluation.figures import Judged, broken, count
from cacheserver.cli import main
from cacheserver.core.terminal.question_pairs import QuestionPair
from tests.house import House
from tests.models import model_dir

PAIRS = (
    ("How do I reset my password?", "How can I reset my password?", 1),
    ("How do I reset my password?", "How do I reset my router?", 0),
    ("How do I reset my password?", "How do I reset my password?", 1),
    ("What is the capital of France?", "What's the capital of France?", 1),
    ("What is the capital of France?", "What is the capital of Germany?", 0),
    ("How is wool washed?", "How do you wash wool?", 1),
    ("What is the weather today?", "What's the weather today?", 1),
    ("Write `x = 1` in Python.", "Write `x = 2` in Python.", 0),
    ("Is ten percent enough?", "Is 10 percent enough?", 1),
)


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CACHESERVER_MODEL_DIR", str(model_dir()))
    monkeypatch.setenv("CACHESERVER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("CACHESERVER_CONFIG", raising=False)
    file = tmp_path / "pairs.jsonl"
    rows = [{"query_a": a, "query_b": b, "label": label} for a, b, label in PAIRS]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def evaluated(
    capsys: pytest.CaptureFixture[str], pairs: Path, *words: str
) -> tuple[int, dict[str, Any]]:
    status = main(["evaluate", str(pairs), "--json", *words])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, report


@pytest.mark.parametrize(
    ("words", "bar"),
    [(("--target", "0.05"), {"target": 0.05}), (("--similarity", "0.8"), {"similarity": 0.8})],
)
async def test_it_decides_as_a_server_that_has_learned_nothing(
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, str],
    bar: dict[str, Any],
) -> None:
    _, report = await asyncio.to_thread(evaluated, capsys, pairs, *words)
    reasons = dict[str, int]()
    async with House.open(tmp_path / "house", **{"similarity": None, **bar}) as house:
        for number, (a, b, _) in enumerate(PAIRS):
            for text in (a, b):
                answer = await house.ask(text, headers={"x-cache-namespace": f"n{number}"})
            reason = answer.headers["x-cache-reason"]
            reasons[reason] = reasons.get(reason, 0) + 1
    assert report["reasons"] == reasons
    assert report["hits"] > 1


def test_the_gate_is_open_at_its_limits_and_closed_past_them(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = evaluated(capsys, pairs, "--similarity", "0.5")
    assert (status, report["broken"]) == (0, [])
    rates = report["wrong_rate"], report["hit_rate"]
    at = ("--similarity", "0.5", "--max-wrong", str(rates[0]), "--min-hits", str(rates[1]))
    assert evaluated(capsys, pairs, *at)[0] == 0
    status = main(["evaluate", str(pairs), "--similarity", "0.5", "--min-hits", "1"])
    told = capsys.readouterr()
    assert status == 1
    assert "FAIL  hits: " in told.err
    assert "wrong" in told.out


@pytest.mark.parametrize(
    "words",
    [
        ("--max-wrong", "1.5"),
        ("--max-wrong", "few"),
        ("--target", "0"),
        ("--similarity", "2"),
        ("--target", "0.1", "--similarity", "0.9"),
    ],
)
def test_a_limit_that_is_none_is_refused(
    pairs: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["evaluate", str(pairs), *words])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2
    assert capsys.readouterr().out == ""


def test_shares_are_of_what_they_say() -> None:
    same, different = QuestionPair("a", "b", True), QuestionPair("a", "c", False)
    judged = [
        *(Judged(same, True, "probable") for _ in range(3)),
        Judged(same, False, "below-bar"),
        Judged(different, True, "probable"),
        Judged(different, False, "vetoed"),
    ]
    found = count(judged)
    assert (found.pairs, found.same, found.hits, found.wrong) == (6, 4, 4, 1)
    assert (found.hit_rate, found.wrong_rate) == (4 / 6, 1 / 4)
    assert (found.found, found.fooled) == (3 / 4, 1 / 2)
    assert broken(found, max_wrong=0.25, min_hits=4 / 6) == []
    assert [one.split(":")[0] for one in broken(found, max_wrong=0.2, min_hits=0.7)] == [
        "wrong",
        "hits",
    ]
    nothing = count([Judged(different, False, "vetoed")])
    assert (nothing.wrong_rate, nothing.found) == (0.0, None)
    assert broken(nothing, max_wrong=0.0, min_hits=None) == []
