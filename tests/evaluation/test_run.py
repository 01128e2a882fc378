"""The whole evaluation over a small folder of our own, with the real models."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from scripts.evaluation import logs
from scripts.evaluation.data import Logged
from scripts.evaluation.plan import Plan
from scripts.evaluation.run import Evaluation
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.verify.part import MODELS
from tests.models import model_dir

FRAMES = ("how do i {}", "how can i {}", "what is the way to {}", "please help me {}", "i must {}")
DEEDS = (
    *("block my card", "reset my password", "change my address", "close the account"),
    *("order a new phone", "cancel the trip", "find my invoice", "raise the limit"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    questions = [(frame.format(deed), deed) for deed in DEEDS for frame in FRAMES]
    traps = [(f"how do i {a}", f"how do i {b}") for a, b in pairwise(DEEDS)]
    duplicates = [(f"how do i {deed}", f"how can i {deed}") for deed in DEEDS]
    files = {
        "desk/all.tsv": ["query\tintent", *(f"{text}\t{deed}" for text, deed in questions)],
        "near/pairs.tsv": [
            "query_a\tquery_b\tlabel",
            *(f"{a}\t{b}\t0" for a, b in traps),
            *(f"{a}\t{b}\t1" for a, b in duplicates),
        ],
        "log/days.tsv": [
            "Date\tQuery",
            *(
                f"2020-01-0{i % 3 + 1}\t{text}"
                for i, (text, _) in enumerate(questions + questions[:9])
            ),
        ],
    }
    for name, lines in files.items():
        (made / name).parent.mkdir()
        (made / name).write_text("\n".join(lines) + "\n")
    return made


def test_every_part_is_run_with_its_baselines_and_written_as_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(
        folder,
        model_dir(),
        quick=True,
        json=tmp_path / "found.json",
        cache=tmp_path / "cache",
    )
    found = Evaluation(plan).run()
    ways = {(row.stream, row.way) for row in found.streams}
    for stream in ("desk", "desk, zipf", "desk +5% traps"):
        assert (stream, "ours 1%") in ways
    for way in (
        "exact",
        "static 0.60",
        "static 0.90 (RedisVL)",
        "GPTCache 0.60",
        "vCache 1%",
        "perfect decision",
    ):
        assert ("desk", way) in ways
    assert [(one.name, one.way) for one in found.pairs] == [
        ("near/pairs", "cosine"),
        ("near/pairs", "words"),
    ]
    assert [one.name for one in found.latency] == ["desk"]
    assert found.latency[0].p50 < found.latency[0].p95 < 100
    (log,) = found.logs
    assert log.requests == 49
    assert log.shares["exact"] + log.shares["semantic"] > 0.18  # nine are asked twice
    assert set(json.loads((tmp_path / "found.json").read_text())) == {
        "streams",
        "pairs",
        "logs",
        "latency",
        "prose",
        "shift",
        "attack",
        "poison",
        "cold",
        "languages",
        "verify",
        "declared",
    }
    assert found.verify is not None
    assert {row.model for row in found.verify.streams} == set(MODELS)
    assert {row.stream for row, _ in found.verify.grid} == {"desk", "desk, zipf"}
    assert {row.name for row in found.verify.cold} == {
        "own/support",
        "own/developer",
        "own/twin_pairs",
    }
    assert {row.way for row in found.verify.shift} == set(MODELS)
    homes = {(row.home, row.foreign) for row in found.shift}
    assert homes == {("easy", "desk"), ("all", "all")}
    assert "decision beyond the embedding, desk: p50" in capsys.readouterr().out


def test_a_question_answered_by_similarity_is_not_stored_so_it_is_no_exact_hit_later(
    tmp_path: Path,
) -> None:
    texts = (
        "how do i reset my password",
        "how can i reset my password",
        "HOW DO I reset my password",
    )
    questions = [Logged(f"2020-01-0{i + 1}", texts[at]) for i, at in enumerate((0, 1, 1, 0, 2))]
    found = logs.Replay(questions, Embeddings(model_dir(), tmp_path), 0.01).run("desk")
    tiers = [tier for _, _, shares in found.days for tier, share in shares.items() if share]
    assert tiers == ["semantic", "semantic", "exact", "folded"]
    assert found.sample == [(texts[1], texts[0])]
    assert found.entries == 1


def test_only_the_parts_asked_for_are_run(folder: Path, tmp_path: Path) -> None:
    plan = Plan(folder, model_dir(), quick=True, parts=("logs",), cache=tmp_path)
    found = Evaluation(plan).run()
    assert (found.streams, found.pairs, found.latency, len(found.logs)) == ([], [], [], 1)
