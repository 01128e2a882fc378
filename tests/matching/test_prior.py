"""The prior: a probability, never lowered by a higher cosine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.english.language import english
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.features import NAMES
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.prior import MINILM, TERMS, UNFITTED, Prior, basis, evidence_id

ENGLISH = english()
cosines = st.floats(-1, 1)
lexicals = st.lists(st.floats(0, 2), min_size=len(NAMES), max_size=len(NAMES))


def lexical(a: str, b: str) -> tuple[float, ...]:
    difference = ENGLISH.compare(ENGLISH.profile(a), ENGLISH.profile(b))
    return ENGLISH.features(difference, ENGLISH.vetoes(difference, ALL_VETOES))


@given(cosines, lexicals)
def test_it_is_a_probability(cosine: float, values: list[float]) -> None:
    assert 0 < MINILM.probability(cosine, values) < 1


@given(cosines, cosines, lexicals)
def test_a_higher_cosine_never_lowers_it(one: float, other: float, values: list[float]) -> None:
    low, high = sorted((one, other))
    assert MINILM.probability(low, values) <= MINILM.probability(high, values) + 1e-12


def test_every_term_has_a_weight_and_every_weight_a_term() -> None:
    values = [0.0] * len(NAMES)
    assert set(MINILM.weights) == {"bias", *basis(0.9, values)} == set(TERMS)


def test_a_repeat_is_likelier_than_a_near_miss_at_the_same_cosine() -> None:
    stored = "Is there a night train from Oslo to Bergen on Monday?"
    repeat = lexical(stored, "is there a night train from oslo to bergen on monday")
    near_miss = lexical(stored, "Is there a night train from Oslo to Rome on Monday?")
    assert MINILM.probability(0.95, repeat) > 0.8
    assert MINILM.probability(0.95, near_miss) < 0.4


def test_without_likeness_nothing_is_served() -> None:
    far = lexical("Is there a night train to Oslo?", "best glue for wet paper")
    assert MINILM.probability(0.1, far) < 0.2


def test_a_lexical_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        MINILM.probability(0.9, [0.0])


@given(cosines, lexicals)
def test_without_a_fit_nothing_is_probable(cosine: float, values: list[float]) -> None:
    assert UNFITTED.probability(cosine, values) == 0.5
    assert UNFITTED.scale(cosine) == cosine


def test_labels_are_apart_by_embedder_weights_and_scale_and_the_defaults_keep_their_name() -> None:
    """Labels of stores before priors had names are under the embedder's id alone."""
    weights, scale = dict(MINILM.weights), CosineScale(((0.7, 0.1), (1.0, 1.0)))
    assert evidence_id("e", Prior(dict(reversed(weights.items())))) == "e"
    others = (Prior(weights, scale), Prior({**weights, "bias": 0.0}), UNFITTED)
    names = {evidence_id("e", prior) for prior in others}
    assert len({"e", evidence_id("f", UNFITTED), *names}) == 5
    assert evidence_id("e", Prior(dict(weights), scale)) in names
