"""Poisoning: nothing one caller sends has questions far from theirs served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from cacheserver.calibration import label_intake
from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration
from cacheserver.matching.calibration import Label
from tests.matching.scopes import (
    TARGETS,
    Question,
    Scope,
    around,
    foreign,
    honest,
    novel,
    repeat,
)

MALLORY = "mallory"
SENT = 800
COUNT = 60  # questions of each kind


def asked(seed: int = 99) -> list[Question]:
    """Questions of others: repeats, novel ones of their kind, ones about something else."""
    rng = Random(seed)
    return [make(rng) for make in (repeat, novel, foreign) for _ in range(COUNT)]


def low(rng: Random, group: str, *, right: bool = True) -> Question:
    """One whose near ones agree, at a cosine of 0.1 to 0.7."""
    far = rng.uniform(0.1, 0.7)
    cosines = [*(far - abs(rng.gauss(0, 0.02)) for _ in range(5)), *(far - 0.2,) * 5]
    return Question(around(cosines, [group] * 5 + ["other"] * 5), right, MALLORY)


def high(rng: Random, group: str, *, right: bool = True) -> Question:
    near = rng.uniform(0.9, 0.999)
    return Question(around([near] * 5 + [0.4] * 5, [group] * 5 + ["other"] * 5), right, MALLORY)


def constant(scope: Scope, rng: Random) -> Label:
    """ "Reply with just: OK": one answer to whatever is asked."""
    return scope.label(low(rng, "ok"))


def many_answers(scope: Scope, rng: Random) -> Label:
    return scope.label(low(rng, f"m{rng.random()}"))


def easy_pairs(scope: Scope, rng: Random) -> Label:
    """Near copies of what they stored themselves: they dilute the average."""
    return scope.label(high(rng, f"m{rng.randrange(40)}"))


def praise(scope: Scope, rng: Random) -> Label:
    return replace(scope.label(low(rng, "ok"), served=True), source="feedback")


def blame(scope: Scope, rng: Random) -> Label:
    return scope.label(high(rng, f"m{rng.randrange(40)}", right=False))


def heavy(scope: Scope, rng: Random) -> Label:
    return scope.label(low(rng, "ok"), served=True, weight=100.0)


def mirrored(scope: Scope, rng: Random) -> Label:
    """Right ones beside others that are as near: each shows how a wrong hit would look."""
    label = scope.label(low(rng, "ok"))
    return replace(label, foil=replace(scope.label(high(rng, "ok")).evidence, group="", entry=""))


def lifted(scope: Scope, rng: Random) -> Label:
    """Right labels of the answer that others are served, from further and further away."""
    return scope.label(low(rng, "g1"))


def alone(scope: Scope, rng: Random) -> Label:
    """With one neighbour: the prior alone tells of these."""
    return scope.label(Question(around([rng.uniform(0.1, 0.7)], ["ok"]), True, MALLORY))


def twisted(scope: Scope, rng: Random) -> Label:
    """The further, the righter."""
    make = low if rng.random() < 0.5 else high
    return scope.label(make(rng, f"m{rng.randrange(40)}", right=make is low))


WAYS: tuple[Callable[[Scope, Random], Label], ...] = (
    *(constant, many_answers, easy_pairs, praise, blame, heavy, mirrored, lifted),
    *(alone, twisted),
)


@cache
def poisoned(way: Callable[[Scope, Random], Label], target: float, seed: int = 5) -> Scope:
    """An honest scope whose callers are not heard any more: nothing but cells keeps labels out."""
    scope, rng = honest(target), Random(seed)
    for _ in range(SENT):
        scope.learn(replace(way(scope, rng), at=label_intake.HEARD_S + 1))
    scope.state = calibration.refit(scope.state)
    return scope


@pytest.mark.parametrize("target", TARGETS)
def test_eight_hundred_that_are_answered_ok_move_no_decision_of_others(target: float) -> None:
    questions = asked()
    before = honest(target).decisions(questions)
    assert sum(before[:COUNT]) > COUNT / 2
    assert not any(before[COUNT:])
    assert poisoned(constant, target).decisions(questions) == before


@pytest.mark.parametrize("target", [0.01, 0.1])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_poisoning_has_others_served_what_they_were_not(
    way: Callable[[Scope, Random], Label], target: float
) -> None:
    questions = asked()
    before, after = honest(target).decisions(questions), poisoned(way, target).decisions(questions)
    assert not any(after[COUNT:])
    begun = [
        one
        for one, was, now in zip(questions, before, after, strict=True)
        if now and not was and not (way is lifted and one.neighbours[0].group == "g1")
    ]
    assert begun == []
    if way not in (blame, twisted):  # these say of what others are served that it is wrong
        assert sum(after) >= 0.85 * sum(before)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", WAYS)
def test_between_two_steps_of_a_settled_scope_nothing_that_comes_in_moves_it(
    way: Callable[[Scope, Random], Label], target: float
) -> None:
    questions, rng = asked(), Random(5)
    scope = honest(target)
    for at in range(2 * calibration.STEP):
        one = repeat(rng, f"c{at % 10}") if rng.random() < 0.7 else novel(rng, f"c{at % 10}")
        scope.learn(replace(scope.label(one), evidence=_own(scope.label(one), at)))
        if len(scope.state.labels) > calibration.STEP and not scope.state.fresh:
            break
    assert not scope.state.fresh
    before, bar = scope.decisions(questions), scope.bar
    for _ in range(SENT):
        scope.learn(replace(way(scope, rng), source="miss", served=False))
    assert scope.decisions(questions) == before
    assert scope.bar == bar


def _own(label: Label, at: int) -> Evidence:
    """Its evidence, of one answer in a hundred: no cell fills with them."""
    return replace(label.evidence, group=f"{label.evidence.group} {at % 5}")


@pytest.mark.parametrize("way", [constant, praise, heavy, lifted])
def test_a_caller_has_no_more_labels_of_an_answer_than_its_cells_take(
    way: Callable[[Scope, Random], Label],
) -> None:
    labels = [label for label in poisoned(way, 0.01).state.labels if label.caller == MALLORY]
    tenths = {int(label.evidence.cosine * 10) for label in labels}
    assert label_intake.CELL < len(labels) <= label_intake.CELL * len(tenths)
