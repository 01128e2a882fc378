"""Cold pairs and attack classes, beside baselines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scripts.evaluation import attack, cold, data
from scripts.evaluation.baselines import Threshold, VCache
from scripts.evaluation.data import Malformed, Question
from scripts.evaluation.stream import Outcome, Settings, Traffic
from scripts.evaluation.vectors import Embeddings
from scripts.pairs.types import Pair

ROOT = Path(__file__).parents[2]


def test_a_pair_is_served_in_either_direction_and_twins_stand_apart(
    embeddings: Embeddings,
) -> None:
    listed = [
        Pair("how do i renew my passport", "how do i renew my passport please", 1, "frame"),
        Pair("how do i renew my passport", "how do i renew my licence", 0, "object"),
    ]
    found = cold.judged(listed, embeddings, Settings())
    assert [one.served for one in found[cold.OURS]] == [True, False]
    plain, twins = cold.rows("mine", cold.OURS, found[cold.OURS])
    assert (plain.paraphrases, plain.near_misses, twins.paraphrases) == (0, 1, 1)
    assert (twins.kept, twins.served, len(twins.pairs)) == (1.0, 0.0, 2)
    assert [one.served for one in found["GPTCache 0.60"]] == [True, True]
    classes = {(r.label, r.kind): r for r in attack.rows("mine", "x", found["GPTCache 0.60"])}
    assert set(classes) == {(0, "object"), (0, "all"), (1, "frame"), (1, "all")}
    assert classes[0, "all"].wrong == [(listed[1].a, listed[1].b)]
    assert (classes[1, "all"].twins, classes[1, "all"].twins_served) == (1, 1)


def test_an_earlier_version_is_held_to_the_same_pairs(tmp_path: Path) -> None:
    told = cold.Judged("a", "b", 1, served=True, twin=False, source="x")
    rows = cold.rows("own/x", cold.OURS, [told])
    file = tmp_path / "before.json"
    file.write_text(json.dumps({"cold": [as_json(row) for row in rows]}))
    assert cold.earlier(file) == {"own/x": [told]}
    file.write_text("{}")
    with pytest.raises(Malformed, match="no figures of the part `cold`"):
        cold.earlier(file)


def as_json(row: cold.Row) -> dict[str, object]:
    return {
        "name": row.name,
        "way": row.way,
        "pairs": [
            {name: getattr(one, name) for name in ("a", "b", "label", "served", "twin", "source")}
            for one in row.pairs
        ],
    }


def test_our_own_pairs_are_as_many_paraphrases_as_near_misses() -> None:
    for name, listed in data.own().items():
        assert Counter(pair.label for pair in listed) == {0: 80, 1: 80}, name
        assert len({(pair.a, pair.b) for pair in listed}) == 160, name
        assert all(pair.a != pair.b for pair in listed), name


def test_a_file_of_classes_is_told_by_its_column(tmp_path: Path) -> None:
    file = tmp_path / "attack.tsv"
    file.write_text("query_a\tquery_b\tlabel\tclass\na\tb\t0\tcase\n")
    assert data.pairs_of(file) == [Pair("a", "b", 0, "case")]
    (tmp_path / "mine").mkdir()
    file.rename(tmp_path / "mine" / "attack.tsv")
    assert data.read(tmp_path).attacks == {"mine/attack": [Pair("a", "b", 0, "case")]}
    bare = tmp_path / "bare.tsv"
    bare.write_text("query_a\tlabel\na\t0\n")
    with pytest.raises(Malformed, match="the header lacks query_b"):
        data.pairs_of(bare)


@pytest.mark.parametrize("dials", ["5", "5,x", "-1,5", "60,50", "0,0"])
def test_noise_is_two_percentages(dials: str) -> None:
    command = [
        sys.executable,
        "-m",
        "scripts.evaluation.command",
        "--data",
        ".",
        f"--noise={dials}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert f"--noise {dials}" in done.stderr


def test_the_same_text_again_is_no_decision_of_a_baseline_either() -> None:
    questions = [Question("one", "m", "t"), Question("one", "m", "t")]
    rows = np.eye(2, dtype=np.float32)[[0, 0]]
    for decider in (
        Threshold(Traffic(questions, rows), 0.5),
        VCache(Traffic(questions, rows), 0.1, 1),
    ):
        decider.ask(0)
        decider.ask(1)
        outcome: Outcome = decider.outcome
        assert (outcome.hits, outcome.exact) == ([False, False], [False, True])
