"""The classifier: probabilities whatever comes in, and levels that lean away from the cheap."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.rules.routing import RoutingRules
from cacheserver.index.models import OnnxEmbedder
from cacheserver.routing.complexity import Complexity, Weights, features, level, read
from cacheserver.routing.complexity_weights import WITH_VECTOR, WITHOUT
from cacheserver.routing.task_inference import infer_task
from scripts.routing import keywords
from tests.models import model_dir

PLAIN = RoutingRules()
TOY = Weights((0.0, 0.0), ((1.0, 0.0), (0.0, 1.0)), {"prove": (-3.0, 3.0)})
BARE = Weights((0.5, 0.0), ((), ()), {"prove": (-1.0, 1.0)}, temperature=2.0)

# The rubric's own boundary cases (scripts/routing/RUBRIC.md), in neither half.
BOUNDARY = [
    ("Prove that the square root of 2 is irrational step by step", "COMPLEX"),
    ("Design a distributed rate limiter for 1M rps", "COMPLEX"),
    ("Find the race condition in our billing service", "COMPLEX"),
    ("What is a mutex?", "SIMPLE"),
    ("How do I reset my password?", "SIMPLE"),
    ("Translate this into Spanish: the meeting is on Monday", "SIMPLE"),
]


def test_the_embedding_and_the_words_are_weighed_together() -> None:
    seen = read("hello", None, [2.0, 0.0], with_vector=TOY, without=BARE)
    assert seen.simple == pytest.approx(math.exp(2) / (math.exp(2) + 2))
    proof = read("prove it", None, [2.0, 0.0], with_vector=TOY, without=BARE)
    assert proof.complex == pytest.approx(math.exp(3) / (math.exp(3) + math.exp(-1) + 1))


@pytest.mark.parametrize("vector", [None, [], [1.0], [1.0] * 384])
def test_without_an_embedding_of_the_right_size_the_words_decide(
    vector: list[float] | None,
) -> None:
    seen = read("prove it", None, vector, with_vector=TOY, without=BARE)
    assert seen.complex == pytest.approx(
        math.exp(0.5) / (math.exp(0.5) + math.exp(-0.25) + 1)
    )  # halved by its temperature


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.text(max_size=900), st.none() | st.lists(numbers, min_size=384, max_size=384))
def test_probabilities_sum_to_one_whatever_comes_in(text: str, vector: list[float] | None) -> None:
    seen = read(text, "code", vector, with_vector=WITH_VECTOR, without=WITHOUT)
    shares = (seen.simple, seen.medium, seen.complex)
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1)


def test_a_damaged_embedding_says_nothing() -> None:
    seen = read("hi", None, [math.nan, 0.0], with_vector=TOY, without=BARE)
    assert seen == Complexity(0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Complexity(0.9, 0.05, 0.05), "SIMPLE"),
        (Complexity(0.05, 0.9, 0.05), "MEDIUM"),
        (Complexity(0.05, 0.05, 0.9), "COMPLEX"),
        (Complexity(0.0, 1 - PLAIN.complex_from, PLAIN.complex_from), "COMPLEX"),
        (
            Complexity(1 - PLAIN.simple_complex_most, 0.0, PLAIN.simple_complex_most),
            "SIMPLE",
        ),
        (
            Complexity(0.99 - PLAIN.simple_complex_most, 0.0, PLAIN.simple_complex_most + 0.01),
            None,
        ),
        (Complexity(0.4, 0.25, 0.35), None),
        (Complexity(0.95, 0.0, 0.05), "SIMPLE"),
        (Complexity(0.95, 0.0, 0.05, embedded=False), None),
        (Complexity(0.95, 0.03, 0.02, embedded=False), "SIMPLE"),
    ],
)
def test_simple_is_said_only_where_complex_is_unlikely(
    reading: Complexity, expected: str | None
) -> None:
    assert level(reading, PLAIN) == expected


@given(st.text(max_size=2_000))
def test_features_are_finite_and_bounded(text: str) -> None:
    found = features(text, None)
    assert all(math.isfinite(value) and 0 <= value <= 10 for value in found.values())
    assert len(found) < 1_000


def test_what_is_pasted_between_the_ends_changes_the_size_alone() -> None:
    ends = "a" * 250, "Translate this into French"
    one, two = (features(f"{ends[0]}{'prove ' * n}{'b ' * 200}{ends[1]}", None) for n in (40, 80))
    assert {k for k in one if one[k] != two[k]} == {"size"}


@pytest.mark.parametrize(("prompt", "expected"), BOUNDARY)
def test_the_rubrics_own_cases_are_told_apart(prompt: str, expected: str) -> None:
    vector = OnnxEmbedder(model_dir()).embed([prompt])[0].tolist()
    for embedded in (vector, None):
        seen = read(
            prompt, infer_task({}, prompt), embedded, with_vector=WITH_VECTOR, without=WITHOUT
        )
        shares = {"SIMPLE": seen.simple, "MEDIUM": seen.medium, "COMPLEX": seen.complex}
        assert max(shares, key=lambda name: shares[name]) == expected, seen


def test_the_keyword_heuristic_calls_a_proof_simple() -> None:
    assert keywords.level("prove that the square root of 2 is irrational step by step") == "SIMPLE"
    assert keywords.level("Design a distributed rate limiter for 1M rps") == "SIMPLE"
