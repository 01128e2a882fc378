"""Intake: beside others nobody's labels bring a step about, or are most of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.calibration import label_intake
from cacheserver.core import actors
from cacheserver.matching import calibration
from cacheserver.matching.calibration import STEP, Label, Source
from tests.matching.scopes import TARGETS, Scope, honest, novel, repeat
from tests.matching.test_poisoning import WAYS, asked

MALLORY = "mallory"
HOURS = 3_600.0


@cache
def _settled() -> Scope:
    """A scope past its first steps, with nothing that waits for the next; all but cells' labels."""
    scope, rng = honest(), Random(11)
    for at in range(4 * STEP):
        if len(scope.state.labels) > STEP and not scope.state.fresh:
            break
        label = scope.label(repeat(rng) if rng.random() < 0.7 else novel(rng))
        scope.learn(of(f"c{at % 10}.", label, at))
    return scope


def settled(target: float = 0.01) -> Scope:
    return Scope(target, _settled().state)


def of(caller: str, label: Label, number: int) -> Label:
    """A caller's label, of one of many answers: no cell fills with them."""
    group = f"{label.evidence.group} {number % 97}"
    return replace(label, caller=caller, evidence=replace(label.evidence, group=group))


def easy(scope: Scope, count: int, caller: str, *, at: float = 0.0, seed: int = 1) -> int:
    """Send right labels of ever other answers; the number that was learned."""
    learned = 0
    for number in range(count):
        label = _pool()[(number + seed) % len(_pool())]
        evidence = replace(label.evidence, group=f"{caller} {seed} {number}")
        learned += scope.learn(replace(label, caller=caller, at=at, evidence=evidence))
    return learned


@cache
def _pool() -> list[Label]:
    rng, scope = Random(1), honest()
    return [scope.label(repeat(rng)) for _ in range(100)]


def test_a_key_by_itself_fills_every_step() -> None:
    scope = Scope()
    assert easy(scope, 2 * STEP, "only.") == 2 * STEP
    assert scope.state.fresh < STEP


def test_beside_others_a_key_holds_half_of_a_step_and_the_others_fill_it() -> None:
    scope = settled()
    weights = scope.state.weights
    assert easy(scope, 3 * STEP, f"{MALLORY}.") == STEP // 2
    assert easy(scope, STEP // 2 - 1, "c1.") == STEP // 2 - 1
    assert scope.state.weights == weights
    assert easy(scope, 1, "c2.") == 1
    assert scope.state.fresh == 0
    assert scope.state.weights != weights


def test_a_key_that_was_most_of_the_last_fit_goes_on_at_its_pace() -> None:
    scope = Scope()
    for number in range(STEP + 200):
        easy(scope, 1, "few." if number % 5 == 0 else "many.", seed=number)
        if len(scope.state.labels) > STEP and not scope.state.fresh:
            break
    shares = [label.caller == "many." for label in scope.state.fitted]
    assert easy(scope, STEP, "many.", seed=-1) == sum(shares) * STEP // len(shares) > STEP * 0.7
    assert easy(scope, STEP, "few.", seed=-1) >= STEP - sum(shares) * STEP // len(shares)


def test_end_users_divide_what_their_key_holds_and_never_add_to_it() -> None:
    scope = settled()
    assert easy(scope, 150, "c1.u1") == 150  # the first of their key: nobody beside them is known
    assert easy(scope, STEP, "c1.u2") == STEP // 4
    assert sum(easy(scope, 10, f"c1.v{user}") for user in range(100)) == STEP // 2 - 150 - STEP // 4


def test_of_a_key_by_itself_an_end_user_holds_half_of_a_step() -> None:
    scope = Scope()
    for number in range(STEP + 200):
        easy(scope, 1, f"only.u{number % 10}", seed=number)
        if len(scope.state.labels) > STEP and not scope.state.fresh:
            break
    assert not scope.state.fresh
    assert easy(scope, 2 * STEP, f"only.{MALLORY}") == STEP // 2


def test_callers_who_were_not_heard_for_a_week_hold_nobody_up() -> None:
    scope = settled()
    assert easy(scope, STEP, "c1.", at=label_intake.HEARD_S) == STEP // 2
    assert easy(scope, STEP, "c1.", at=label_intake.HEARD_S + HOURS, seed=2) == STEP


@pytest.mark.parametrize("source", ["feedback", "admin", "audit"])
def test_wrong_hits_and_what_a_person_decided_are_learned_within_the_part_of_their_caller(
    source: Source,
) -> None:
    scope = settled()
    label = replace(scope.label(repeat(Random(3))), caller=MALLORY, right=source == "admin")
    one = replace(label, source=source, served=True)
    assert sum(scope.learn(one) for _ in range(STEP)) == STEP // 2


SOURCES: Sequence[Source] = ("miss", "audit", "feedback", "admin")
sent = st.lists(
    st.tuples(
        st.sampled_from(WAYS),
        st.sampled_from(SOURCES),
        st.booleans(),  # a hit
        st.sampled_from((1.0, 100.0)),
        st.sampled_from(("", "u1", "u2")),
        st.integers(0, 10_000),  # the answer
    ),
    min_size=1,
    max_size=12,
)


def labels_of(scope: Scope, drawn: Sequence[tuple[object, ...]], times: int) -> list[Label]:
    rng, found = Random(7), []
    for number in range(times):
        way, source, served, weight, user, answer = drawn[number % len(drawn)]
        label = replace(
            way(scope, rng),  # type: ignore[operator]
            source=source,
            served=served,
            weight=weight,
            caller=f"{MALLORY}.{user}",
        )
        found.append(of(label.caller, label, int(str(answer)) + number))
    return found


@given(sent, st.sampled_from(TARGETS), st.booleans())
@settings(max_examples=10)
def test_whatever_one_key_sends_between_two_steps_moves_nothing_of_others(
    drawn: list[tuple[object, ...]], target: float, young: bool
) -> None:
    scope = honest(target) if young else settled(target)
    before, bar, state = scope.decisions(questions := asked()), scope.bar, scope.state
    for label in labels_of(scope, drawn, STEP // 2 + 60):
        scope.learn(label)
        assert not scope.state.refit_due
    held = scope.state.labels[len(scope.state.labels) - scope.state.fresh :]
    assert 0 < len(held) <= (scope.state.step + 1) // 2
    assert scope.state.weights == state.weights
    assert scope.state.fitted == state.fitted
    after = scope.bar
    assert (after.level, after.basis, after.support) == (bar.level, bar.basis, bar.support)
    mine = {label.evidence.group for label in held}
    assert bar.shut - mine == after.shut - mine
    scope.state = calibration.refit_offsets(scope.state)
    assert scope.decisions(questions) == before


@given(st.lists(st.sampled_from(("a.", "a.x", "b.", "b.y", "c.")), min_size=2, unique=True))
@settings(max_examples=4)
def test_whoever_is_left_two_keys_always_fill_a_step(callers: list[str]) -> None:
    if len({actors.key_of(caller) for caller in callers}) < 2:
        return
    scope = settled()
    weights = scope.state.weights
    for at in range(2 * STEP):
        if scope.state.weights != weights:
            return
        easy(scope, 1, callers[at % len(callers)], seed=at)
    raise AssertionError("the step never came")
