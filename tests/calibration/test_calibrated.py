"""What a scope learned and the bar made of it, on every engine, as two servers see it."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.calibration import label_intake
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.states import States, decode, encode
from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import Connection
from cacheserver.storage.json_values import decode_object, encode_object
from tests.clock import Clock

TARGET = 0.1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def server(redis: Connection, prefix: str, clock: Clock) -> States:
    labels = Labels(redis, prefix=prefix, clock=clock, now=clock)
    return States(labels, Metrics(), embedder="e", clock=clock)


@pytest.fixture
def states(redis: Connection, prefix: str, clock: Clock) -> States:
    return server(redis, prefix, clock)


async def teach(states: States, count: int, *, seed: int = 1) -> None:
    rng = Random(seed)
    for _ in range(count):
        share = rng.randrange(6) / 5
        group = rng.choice(("clean", "double"))
        found = Evidence(0.9, 0.1, share, share, 0.8, 0.0, company=10, group=group, entry=group)
        found = replace(found, crowd=0.75)  # of all: support tells none of them apart
        right = share > 0.5 and (group == "clean" or rng.random() < 0.7)
        await states.learn("acme", "s", label(found, right, caller=f"c{rng.randrange(10)}"))


def label(found: Evidence, right: bool, **fields: Any) -> Label:
    given = {"weight": 1.0, "source": "miss", "served": False, "embedder": "e"}
    return Label(evidence=found, right=right, **{**given, **fields})


async def test_a_new_scope_has_the_prior_and_its_bar(states: States) -> None:
    state, bar = await states.with_bar("acme", "s", TARGET)
    assert state.cold_start
    assert bar == conformal_bound.bar_for(state, TARGET)
    assert bar.basis == "prior"


async def test_a_bar_is_made_with_each_fit_and_of_it(states: States) -> None:
    _, before = await states.with_bar("acme", "s", TARGET)
    await teach(states, 400)
    state, after = await states.with_bar("acme", "s", TARGET)
    assert after.basis == "labels"
    assert after.level < before.level
    assert state.offsets.groups["double"].residual < 0 < state.offsets.groups["clean"].residual
    assert len(state.labels) - state.fresh >= after.labels


async def test_another_server_comes_to_the_same(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    await states.with_bar("acme", "s", TARGET)
    await teach(states, 400)
    mine, _ = await states.with_bar("acme", "s", TARGET)
    other, bar = await server(redis, prefix, clock).with_bar("acme", "s", TARGET)
    assert other.weights == mine.weights
    assert other.labels == mine.labels
    sure = Evidence(0.9, 0.1, 1.0, 1.0, 0.8, 0.0, company=10, group="double", entry="double")
    assert calibration.probability(other, sure) == pytest.approx(
        calibration.probability(mine, sure), abs=0.02
    )
    assert bar.basis == "labels"


async def test_an_answer_that_goes_wrong_is_shut_by_the_label_that_tells(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    """Not at the next review, up to 100 labels later; and open again by the one that tells that."""
    await states.with_bar("acme", "s", TARGET)
    await teach(states, 400)
    other = server(redis, prefix, clock)
    await other.with_bar("acme", "s", TARGET)
    _, before = await states.with_bar("acme", "s", TARGET)
    assert before.shut == frozenset()
    found = Evidence(0.9, 0.1, 1.0, 1.0, 0.8, 0.0, company=10, crowd=0.75, group="bad", entry="bad")
    for right in (False, True):
        for told in range(1, 40):
            one = label(found, right, served=True, source="audit", caller=f"c{told % 10}")
            await states.learn("acme", "s", one)
            state, bar = await states.with_bar("acme", "s", TARGET)
            assert state.fresh % calibration.EVERY  # else a review has told it
            assert bar.shut == conformal_bound.shut_groups(state.labels, TARGET)
            assert replace(bar, shut=frozenset()) == before  # and nothing else moves
            if ("bad" in bar.shut) != right:
                break
        else:
            pytest.fail("it is never told")
        clock.time += 20
        assert (await other.with_bar("acme", "s", TARGET))[1].shut == bar.shut


async def test_a_restarted_server_makes_the_bar_of_what_was_learned(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    await teach(states, 400)  # nobody asked for a bar while it was learned
    fresh = server(redis, prefix, clock)
    state, bar = await fresh.with_bar("acme", "s", TARGET)
    assert bar == conformal_bound.bar_for(state, TARGET)
    assert not state.cold_start


FOUND = Evidence(
    0.9, 0.1, 1.0, 1.0, 0.8, 0.0, company=10, group="g", entry="e", recorded_probability=0.5
)
FOIL = replace(FOUND, cosine=0.85, group="", entry="", recorded_probability=None)


async def test_a_caller_adds_no_more_of_one_answer_than_a_window_takes(
    redis: Connection, prefix: str, clock: Clock
) -> None:
    kept, metrics = Labels(redis, prefix=prefix, clock=clock, now=clock), Metrics()
    states = States(kept, metrics, embedder="e", clock=clock)
    for _ in range(label_intake.CELL + 5):
        await states.learn("acme", "s", label(FOUND, False, source="feedback", caller="one"))
    assert len(await kept.window("acme", "s")) == label_intake.CELL
    assert 'dropped_total{buffer="labels"} 5.0' in metrics.render().decode()
    await states.learn("acme", "s", label(FOUND, True, source="admin", caller="one"))
    await states.learn("acme", "s", label(FOUND, True, caller="other"))
    rights = [row["right"] for _, row in await kept.window("acme", "s")]
    assert rights[-2:] == [True, True]
    assert len(rights) == label_intake.CELL + 2


async def test_what_another_server_learned_counts_towards_what_a_window_takes(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    other = server(redis, prefix, clock)
    await other.get("acme", "s")  # looked at, and not looked at again by itself
    for _ in range(label_intake.CELL):
        await states.learn("acme", "s", label(FOUND, True, caller="one"))
    await other.learn("acme", "s", label(FOUND, True, caller="one"))
    assert len((await other.get("acme", "s")).labels) == label_intake.CELL


async def test_a_label_comes_back_on_another_server_with_its_foil_and_its_time(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    given = label(FOUND, True, foil=FOIL, caller="one")
    await states.learn("acme", "s", given)
    assert (await server(redis, prefix, clock).get("acme", "s")).labels == (
        replace(given, at=clock()),
    )


async def test_a_scope_starts_anew_with_another_embedder_and_goes_on_with_the_first(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    await teach(states, 400)
    learned = await states.get("acme", "s")
    assert not learned.cold_start
    labels = Labels(redis, prefix=prefix, clock=clock, now=clock)
    other = States(labels, Metrics(), embedder="another", clock=clock)
    assert await other.get("acme", "s") == Calibration()
    back = await server(redis, prefix, clock).get("acme", "s")
    assert back.weights == learned.weights != Calibration().weights


numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text("0123456789abcdef", min_size=64, max_size=64)
evidence = st.builds(
    Evidence,
    *[numbers] * 6,
    company=st.integers(0, 1_000),
    twin=st.booleans(),
    group=words,
    entry=words,
    recorded_probability=st.none() | numbers,
    crowd=numbers,
    coverage=st.none() | numbers,
)


@given(
    st.builds(
        Label,
        evidence=evidence,
        right=st.booleans(),
        weight=numbers,
        source=st.sampled_from(("miss", "audit", "feedback", "admin")),
        served=st.booleans(),
        embedder=words,
        adjustment=numbers,
        foil=st.none() | evidence,
        caller=words,
        at=numbers,
    )
)
def test_a_label_fits_its_row_and_is_read_as_it_was(given: Label) -> None:
    row = encode_object("a label", encode(given), most=4_096)
    assert decode(decode_object("a label", row)) == given


def test_the_stored_names_of_evidence_are_those_of_older_versions() -> None:
    row = encode(label(FOUND, True, foil=FOIL))
    assert (row["evidence"]["told"], row["foil"]["told"]) == (0.5, None)
    assert "recorded_probability" not in row["evidence"] | row["foil"]


NEWER = ("crowd", "coverage")  # of the evidence


@pytest.mark.parametrize("gone", [("foil",), ("foil", "caller"), ("foil", "caller", "adjustment")])
def test_a_label_of_an_older_version_is_read(gone: tuple[str, ...]) -> None:
    given = encode(label(FOUND, True))
    old = {name: value for name, value in given.items() if name not in gone}
    assert decode(old) == label(FOUND, True)
    older = {name: value for name, value in given["evidence"].items() if name not in NEWER}
    assert decode({**old, "evidence": older}) == label(replace(FOUND, crowd=0.0), True)


def test_fields_that_only_another_version_has_are_left_out() -> None:
    given = encode(label(FOUND, True, foil=FOIL))
    other = {**given, "verifier": "v", "evidence": {**given["evidence"], "verified": 2.5}}
    other["foil"] = {**given["foil"], "verified": None}
    assert decode(other) == label(FOUND, True, foil=FOIL)


async def test_a_state_with_the_weight_that_is_gone_is_read_without_it(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    await teach(states, 400)
    mine = await states.get("acme", "s")
    labels = Labels(redis, prefix=prefix, clock=clock, now=clock)
    data, version = await labels.state("acme", "s")
    assert data is not None
    found = json.loads(data)
    assert tuple(found["weights"]) == mine.weights
    old = [*mine.weights[:10], 0.7, *mine.weights[10:]]
    as_before = json.dumps({**found, "weights": old}).encode()
    assert await labels.save_state("acme", "s", as_before, version=version)
    other = await server(redis, prefix, clock).get("acme", "s")
    assert other.weights == mine.weights != calibration.START
    assert other.fresh == mine.fresh


@pytest.mark.parametrize("foil", [{"angle": 1}, {}, "no", 1, ["cosine"]])
def test_a_label_that_cannot_be_read_is_none(foil: Any) -> None:
    assert decode({**encode(label(FOUND, True)), "foil": foil}) is None
