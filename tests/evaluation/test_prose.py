"""The comparison on prose that it was not tuned on, by the real model."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from cacheserver.index.models import OnnxEmbedder
from scripts.evaluation import prose
from tests.models import model_dir


def test_unseen_prose_is_never_wrongly_the_same_and_half_of_it_is_told() -> None:
    pairs = prose.read(prose.OWN["unseen"])
    told = asyncio.run(prose.outcomes(pairs, OnnxEmbedder(model_dir())))
    counts = Counter((pair.label, outcome) for pair, outcome in zip(pairs, told, strict=True))
    assert counts[0, "same"] == 0
    assert counts[1, "different"] == 0
    assert counts[1, "same"] >= counts[1, "open"]
    assert counts[0, "different"] > counts[0, "open"]


@pytest.mark.parametrize("name", prose.OWN)
def test_pairs_of_both_labels_and_all_kinds_are_written(name: str) -> None:
    pairs = prose.read(prose.OWN[name])
    labels = Counter(pair.label for pair in pairs)
    assert min(labels.values()) / len(pairs) > 0.4
    assert {pair.source for pair in pairs} == {"support", "developer", "general", "short"}


def test_a_set_that_a_folder_lacks_is_left_out(tmp_path: Path) -> None:
    made = [one for one in prose.measure(tmp_path, model_dir()) if isinstance(one, prose.Counted)]
    assert {one.name for one in made} == {"own, tuned", "own, unseen"}
    (tmp_path / "answers").mkdir()
    pair = {"question_a": "Is it?", "answer_a": "Yes.", "question_b": "Was it?", "answer_b": "No."}
    line = json.dumps({**pair, "label": 0, "source": "x"})
    (tmp_path / prose.GIVEN).write_text(line + "\n")
    given = [one for one in prose.measure(tmp_path, model_dir()) if isinstance(one, prose.Counted)]
    assert [one.counts for one in given if one.name == "given"] == [
        {"same": 0, "different": 1, "open": 0}
    ]
    assert "1 [21-100%]" in prose.line(next(o for o in given if o.name == "given"))
