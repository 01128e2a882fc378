"""Every hit, whatever a scope was taught, is likely by itself and supported; monotone in cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.calibration import label_intake
from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration, conformal_bound, support
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.decision import JUDGED, Verdict, judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour
from tests.matching.scopes import (
    ASKED,
    ENGLISH,
    STORED,
    TARGETS,
    Scope,
    foreign,
    honest,
    profile,
    repeat,
)

TWIN = "How can I reset the password of my router?"
GROUPS = ("g", "h", "k")
SEEDS = 6


def random_evidence(rng: Random) -> Evidence:
    cosine = rng.uniform(0, 1)
    return Evidence(
        cosine=cosine,
        margin=rng.uniform(-0.2, 0.4),
        share=rng.randrange(6) / 5,
        pull=rng.random(),
        second=rng.uniform(0, cosine),
        prior=rng.gauss(0, 3),
        company=rng.choice((1, 5, 10)),
        twin=rng.random() < 0.2,
        group=rng.choice(GROUPS),
        entry=f"{rng.choice(GROUPS)}-{rng.randrange(3)}",
        crowd=rng.uniform(0, cosine),
    )


def by_chance(rng: Random) -> Label:
    return _label(random_evidence(rng), rng.random() < 0.5)


def upside_down(rng: Random) -> Label:
    """The nearer, the wronger: by every term."""
    found = random_evidence(rng)
    return _label(found, found.cosine + found.margin + found.crowd < 0.9)


def only_high(rng: Random) -> Label:
    """Seen at a high cosine alone, and there the lower one is right as often as not."""
    found = replace(random_evidence(rng), cosine=rng.uniform(0.85, 0.99))
    found = replace(found, crowd=rng.uniform(0.8, found.cosine), company=10)
    return _label(found, found.cosine < 0.97)


def mirrored(rng: Random) -> Label:
    """Right labels beside foils that are nearer."""
    found = replace(random_evidence(rng), company=10)
    near = replace(found, cosine=min(1.0, found.cosine + 0.2), crowd=found.crowd + 0.1)
    return replace(_label(found, True), foil=near)


WAYS = (by_chance, upside_down, only_high, mirrored)


def _label(found: Evidence, right: bool) -> Label:
    return Label(found, right, 1.0, "miss", False, "e")


@cache
def taught(way: int, seed: int) -> Calibration:
    rng, state = Random(seed), Calibration()
    for _ in range(calibration.LEAST + 50 * (seed % 3)):
        label = WAYS[way](rng)
        told = calibration.probability(state, label.evidence)
        state = calibration.learn(
            state, replace(label, evidence=replace(label.evidence, recorded_probability=told))
        )
        if state.refit_due:
            state = calibration.refit(state)
    return calibration.refit(state)


states = st.just(Calibration()) | st.builds(
    taught, st.integers(0, len(WAYS) - 1), st.integers(0, SEEDS - 1)
)
cosines = st.floats(-0.2, 1.0)


@st.composite
def neighbour_lists(draw: st.DrawFn, *, texts: Sequence[str] = (STORED,)) -> list[Neighbour]:
    found = draw(st.lists(st.tuples(cosines, st.sampled_from(GROUPS)), min_size=1, max_size=10))
    text = draw(st.sampled_from(texts))
    return _ranked(
        [
            Neighbour(f"{group}-{place}", cosine, group, profile(text))
            for place, (cosine, group) in enumerate(found)
        ]
    )


def _ranked(found: Sequence[Neighbour]) -> list[Neighbour]:
    return sorted(found, key=lambda one: -one.similarity)


def decided(
    found: Sequence[Neighbour],
    state: Calibration,
    bar: Bar = conformal_bound.UNREACHED,
) -> Verdict:
    return judge(profile(ASKED), found, state, bar, language=ENGLISH, enabled=ALL_VETOES)


@given(
    neighbour_lists(texts=(STORED, TWIN)),
    st.integers(0, JUDGED - 1),
    st.floats(0, 1),
    states,
)
@settings(max_examples=400)
def test_a_probability_never_falls_when_only_the_cosine_rises(
    found: list[Neighbour], at: int, rise: float, state: Calibration
) -> None:
    one = found[min(at, len(found) - 1)]
    nearer = replace(one, similarity=min(1.0, one.similarity + rise))
    after = _ranked([nearer if n is one else n for n in found])
    before, now = (
        next(j.probability for j in decided(ranked, state).candidates if j.id == one.id)
        for ranked in (found, after)
    )
    assert now >= before - 1e-9


@given(neighbour_lists(texts=(STORED, TWIN)), states, st.sampled_from(TARGETS))
@settings(max_examples=300)
def test_no_hit_is_less_probable_than_the_floor(
    found: list[Neighbour], state: Calibration, target: float
) -> None:
    bar = conformal_bound.bar_for(state, target)
    assert bar.level >= bar.floor == conformal_bound.probability_floor(target)
    served = decided(found, state, bar).serve
    assert served is None or served.probability >= conformal_bound.probability_floor(target)


@given(neighbour_lists(), states, st.sampled_from(TARGETS), st.floats(0, 1))
@settings(max_examples=300)
def test_whatever_was_taught_a_question_near_nothing_is_not_served(
    found: list[Neighbour], state: Calibration, target: float, level: float
) -> None:
    bar = replace(conformal_bound.bar_for(state, target), level=level)  # however low
    served = decided(found, state, bar).serve
    if served is None:
        return
    assert served.evidence is not None
    assert not served.evidence.twin
    if bar.support.crowd is None:  # no labels tell: the prior's own pairs do
        assert served.evidence.cosine >= support.PRIOR_COSINE
    else:
        assert served.evidence.crowd >= support.LEAST_CROWD


@pytest.mark.parametrize("target", TARGETS)
def test_where_labels_lie_near_what_lies_far_is_not_served_though_its_five_agree(
    target: float,
) -> None:
    """Its margin is theirs, its share is theirs, and so may its probability be."""
    scope, rng = honest(target), Random(31)
    own, others = [repeat(rng) for _ in range(60)], [foreign(rng) for _ in range(60)]
    assert sum(scope.decisions(own)) > 30
    assert not any(scope.decisions(others))
    agreeing = scope.nearest(others[0]).evidence
    assert agreeing is not None
    assert agreeing.share == 1.0
    assert agreeing.margin == pytest.approx(0.3, abs=0.1)


def test_support_alone_holds_off_what_the_level_lets_through() -> None:
    """In a scope where the near and the far were right, but for one in between."""
    scope, rng = Scope(0.1), Random(8)
    easy = [repeat(rng, f"c{at % 5}") for at in range(300)]
    for one in easy:
        scope.learn(scope.label(one))
    scope.state = calibration.refit(scope.state)
    far, bar = foreign(rng), scope.bar
    told = scope.nearest(far)
    lifted = replace(bar, level=min(bar.level, told.probability))
    verdict = scope.verdict(far, lifted)
    assert verdict.serve is None
    assert verdict.candidates[0].supported is False
    anywhere = replace(
        lifted, support=support.Support(support.ReferenceRange(-1.0, 1.0), least=-1.0)
    )
    assert scope.verdict(far, anywhere).serve is not None


@given(st.integers(1, 60), st.booleans(), st.integers(0, 9), st.sampled_from(TARGETS))
@settings(max_examples=20)
def test_of_a_full_cell_no_label_more_changes_anything(
    more: int, right: bool, tenth: int, target: float
) -> None:
    scope, rng = honest(target), Random(tenth)
    later = label_intake.HEARD_S + 1  # whoever was there before holds up nobody now
    label = replace(scope.label(repeat(rng, "loud")), right=right, at=later)
    label = replace(label, evidence=replace(label.evidence, cosine=tenth / 10 + 0.05))
    for _ in range(label_intake.CELL):
        assert scope.learn(label)
    scope.state = calibration.refit(scope.state)
    full, bar = scope.state, scope.bar
    for at in range(more):
        again = replace(label, right=at % 2 == 0, weight=1.0 + at)
        assert not scope.learn(again)
    assert scope.state == full
    assert scope.bar == bar
    found = label.evidence
    aside = replace(found, cosine=(tenth + 1) % 10 / 10 + 0.05)
    for other in (
        replace(label, caller="another"),
        replace(label, served=True),
        replace(label, evidence=replace(found, group="another")),
        replace(label, evidence=aside),
    ):
        assert label_intake.wanted(scope.state, other)
