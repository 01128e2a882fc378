"""Small streams that the tests of the evaluation count by hand."""

from __future__ import annotations

from random import Random

from scripts.evaluation import easy
from scripts.evaluation.data import Question
from scripts.evaluation.shift import Sizes

SIZES = Sizes(learned=60, foreign=40, each=10, later=40)


def desk(count: int) -> list[Question]:
    """Questions of the easy stream."""
    return Random(1).sample(easy.stream(), count)


def strange(count: int) -> list[Question]:
    """Questions about something else, each of its own meaning."""
    return [
        Question(f"Who wrote volume {i} of the atlas?", f"other: {i}", "atlas")
        for i in range(count)
    ]
