"""Past decisions under another bar."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.freshness import EXPLAINED
from cacheserver.calibration.what_if_rules import (
    LabelledCandidate,
    Nearby,
    Outcome,
    PastDecision,
    by_hits,
    rate,
    rates,
    read_past_decision,
    read_recorded_evidence,
    recommended,
    replay,
    replay_decision,
)
from cacheserver.core.evidence import Evidence, as_json
from cacheserver.core.types import Bar
from cacheserver.matching import conformal_bound
from cacheserver.matching.conformal_bound import CLOSED
from cacheserver.matching.language import VETO_NAMES
from cacheserver.matching.support import ReferenceRange, Support

SAME, OPPOSITE = (), ("antonym", "substitution")  # vetoes that fire
LIFTED = OPPOSITE

shares = st.floats(0, 1)
evidences = st.builds(
    lambda group, crowd: evidence(group=group, crowd=crowd), st.sampled_from("ab"), shares
)
nearbys = st.builds(
    Nearby,
    entry=st.uuids().map(str),
    fired=st.sampled_from([SAME, OPPOSITE]),
    similarity=shares,
    penalty=st.sampled_from([0.0, 0.1]),
    probability=st.none() | shares,
    veto=st.none(),
    supported=st.sampled_from([True, False, None]),
    evidence=st.none() | evidences,
)
pasts = st.builds(
    lambda found, served, worth: past(
        *sorted(found, key=lambda one: -one.similarity),
        served=found[0].entry if served else None,
        worth=worth,
    ),
    st.lists(nearbys, min_size=1, max_size=EXPLAINED),
    st.booleans(),
    st.integers(0, 10**9),
)
tolds = st.builds(
    LabelledCandidate,
    score=shares,
    right=st.sampled_from([True, False, None]),
    weight=st.floats(1, 100),
    worth=st.integers(0, 10**9),
)


def evidence(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {"cosine": 0.9, "margin": 0.1, "share": 1.0, "pull": 1.0}
    fields |= {"second": 0.8, "prior": 3.0, "company": 10, "group": "a", "crowd": 0.8}
    return Evidence(**(fields | changes))


def nearby(**changes: Any) -> Nearby:
    fields: dict[str, Any] = {
        "entry": "e",
        "fired": SAME,
        "similarity": 0.9,
        "probability": 0.99,
        "supported": True,
    }
    return Nearby(**(fields | changes))


def past(*candidates: Nearby, **changes: Any) -> PastDecision:
    fields: dict[str, Any] = {
        "id": "dec_1",
        "at": 1.0,
        "scope": "s",
        "namespace": "n",
        "fingerprint": "f",
        "served": "e",
        "candidates": candidates or (nearby(),),
        "worth": 7,
    }
    return PastDecision(**(fields | changes))


def needed(level: float = 0.98, **changes: Any) -> conformal_bound.Bar:
    basis: conformal_bound.Basis = "closed" if level == CLOSED else "labels"
    return replace(conformal_bound.Bar(0.01, level, basis, 0.01, 0.01, 500, 500), **changes)


def outcome(one: PastDecision, bar: Bar, level: float = 0.98, **changes: Any) -> Outcome:
    asks = None if bar.target is None else needed(level, **changes)
    return replay_decision(one, bar, asks)


THRESHOLD, TARGET = Bar(similarity=0.9), Bar(target=0.01)


@pytest.mark.parametrize(
    ("candidate", "bar", "told"),
    [
        (nearby(), THRESHOLD, True),
        (nearby(similarity=0.8999), THRESHOLD, False),
        (nearby(penalty=0.0001), THRESHOLD, False),
        (nearby(probability=None, supported=False), THRESHOLD, True),  # neither applies
        (nearby(fired=OPPOSITE), THRESHOLD, False),  # vetoes hold under a threshold
        (nearby(fired=OPPOSITE), Bar(similarity=0.9, vetoes_off=LIFTED), True),
        (nearby(), Bar(), False),  # exact-only
        (nearby(), TARGET, True),
        (nearby(probability=0.9799), TARGET, False),
        (nearby(probability=0.98), TARGET, True),
        (nearby(supported=False), TARGET, False),
        (nearby(supported=None), TARGET, True),  # recorded where support was not asked for
        (nearby(probability=None), TARGET, None),
        (nearby(probability=None, fired=OPPOSITE), TARGET, False),
        (nearby(probability=None, fired=OPPOSITE), Bar(target=0.01, vetoes_off=LIFTED), None),
        # Lifted when it was decided, and not now: what was recorded does not help it.
        (nearby(fired=OPPOSITE), TARGET, False),
    ],
)
def test_what_a_bar_would_have_done(candidate: Nearby, bar: Bar, told: bool | None) -> None:
    found = outcome(past(candidate), bar)
    assert found.serves is told
    assert (found.candidate == candidate) == bool(found.serves)


def test_the_likeliest_that_clears_serves_and_a_veto_passes_to_the_next() -> None:
    near, far = nearby(probability=0.98, entry="near"), nearby(similarity=0.8, entry="far")
    assert outcome(past(near, far), TARGET).candidate == far
    vetoed = nearby(fired=OPPOSITE, entry="vetoed", probability=None)
    assert outcome(past(vetoed, far), TARGET).candidate == far
    assert outcome(past(vetoed, near), THRESHOLD).candidate == near
    assert outcome(past(vetoed, far), THRESHOLD).vetoes == {"vetoed": "antonym"}


def test_candidates_that_were_never_judged_are_no_reason_to_doubt() -> None:
    judged = [nearby(entry=str(n), probability=0.2) for n in range(3)]
    others = [nearby(entry=str(n), probability=None) for n in range(3, 5)]
    assert outcome(past(*judged, *others), TARGET).serves is False
    assert outcome(past(nearby(probability=None), *judged), TARGET).serves is None
    assert outcome(past(nearby(probability=None), nearby(entry="b")), TARGET).serves is True


def test_a_scope_that_is_closed_serves_nothing_and_that_is_told() -> None:
    for one in (nearby(), nearby(probability=None)):
        assert outcome(past(one), TARGET, CLOSED).serves is False


REACHED = Support(crowd=ReferenceRange(0.9, 0.2), least=0.6)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (nearby(evidence=evidence()), "probable"),
        (nearby(evidence=evidence(group="b")), "closed"),
        (nearby(evidence=evidence(group="b"), probability=0.1), "closed"),
        (nearby(evidence=evidence(crowd=0.5999)), "unsupported"),
        (nearby(evidence=evidence(crowd=0.5), supported=True), "unsupported"),  # as of today
        (nearby(evidence=evidence(), supported=False), "probable"),
        (nearby(supported=False), "unsupported"),  # all that an older version recorded
        (nearby(evidence=evidence(), probability=0.95), "below-bar"),
        (nearby(evidence=evidence(), probability=0.89), "improbable"),
        (nearby(evidence=evidence(crowd=0.5), probability=0.89), "improbable"),
        (nearby(fired=OPPOSITE), "vetoed"),
    ],
)
def test_the_reason_is_of_what_is_shut_and_supported_today(candidate: Nearby, reason: str) -> None:
    found = outcome(past(candidate), TARGET, shut=frozenset("b"), support=REACHED)
    assert (found.serves, found.reason) == (reason == "probable", reason)


def test_what_is_shut_passes_to_the_next_likely_one() -> None:
    shut = nearby(entry="shut", evidence=evidence(group="b"))
    open_one = nearby(entry="open", evidence=evidence(), probability=0.981)
    found = outcome(past(shut, open_one), TARGET, shut=frozenset("b"))
    assert found.candidate == open_one


def test_reasons_under_other_bars() -> None:
    assert outcome(past(), Bar()).reason == "exact-only"
    assert outcome(past(), TARGET, CLOSED).reason == "closed"
    assert outcome(past(), THRESHOLD).reason == "similar"
    assert outcome(past(nearby(similarity=0.8)), THRESHOLD).reason == "below-threshold"
    assert outcome(past(nearby(fired=OPPOSITE)), THRESHOLD).reason == "vetoed"
    assert outcome(past(nearby(probability=None)), TARGET).reason is None


@given(
    st.lists(evidences, min_size=1, max_size=3),
    st.lists(st.sampled_from([0.5, 0.91, 0.99]), min_size=3, max_size=3),
    st.sampled_from([frozenset[str](), frozenset("a"), frozenset("ab")]),
    st.floats(0, 1),
)
def test_a_decision_of_today_replayed_under_its_own_bar_is_the_same(
    found: list[Evidence], probabilities: list[float], shut: frozenset[str], least: float
) -> None:
    """What is recorded of a decision is all that its replay needs."""
    asks = needed(shut=shut, support=Support(crowd=ReferenceRange(1.0, 1.0), least=least))
    rows = [nearby(entry=str(n), evidence=e) for n, e in enumerate(found)]
    rows = [replace(one, probability=p) for one, p in zip(rows, probabilities, strict=False)]
    told = {one.entry: one.probability or 0.0 for one in rows}
    clear = [
        one
        for one, e in zip(rows, found, strict=True)
        if told[one.entry] >= asks.level and e.group not in shut and asks.support.contains(e)
    ]
    best = max(clear, key=lambda one: told[one.entry], default=None)
    assert outcome(past(*rows), TARGET, shut=shut, support=asks.support).candidate == best


def test_where_all_that_are_recorded_are_vetoed_the_next_one_is_not_known() -> None:
    vetoed = [nearby(entry=str(n), fired=OPPOSITE) for n in range(EXPLAINED)]
    assert outcome(past(*vetoed), THRESHOLD).serves is None
    assert outcome(past(*vetoed[1:]), THRESHOLD).serves is False
    below = nearby(entry="below", fired=OPPOSITE, similarity=0.5)
    assert outcome(past(*vetoed[1:], below), THRESHOLD).serves is False


@given(st.lists(pasts, max_size=20), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_stricter_bar_serves_no_more_and_the_sums_agree(
    seen: list[PastDecision], low: float, high: float
) -> None:
    low, high = min(low, high), max(low, high)
    for bars in ((Bar(similarity=low), Bar(similarity=high)), (Bar(target=0.1),) * 2):
        found = [
            [outcome(one, bar, level) for one in seen]
            for bar, level in zip(bars, (low, high), strict=True)
        ]
        both = [
            at for at in range(len(seen)) if None not in (found[0][at].serves, found[1][at].serves)
        ]
        loose, strict = (replay([(seen[at], one[at]) for at in both]) for one in found)
        assert strict.hits_after <= loose.hits_after
        assert strict.saved_after <= loose.saved_after
        for outcomes in found:
            summed = replay(zip(seen, outcomes, strict=True))
            assert summed.hits_after == summed.hits_before + summed.begun - summed.ended
            assert summed.decisions == len(seen)
            assert sum(summed.reasons.values()) == len(seen) - summed.untold


@given(pasts, st.floats(0.01, 1), st.sampled_from(sorted(VETO_NAMES)))
def test_a_veto_lifted_never_ends_a_hit(one: PastDecision, level: float, veto: str) -> None:
    for bar, lifted in (
        (Bar(similarity=level), Bar(similarity=level, vetoes_off=(veto,))),
        (Bar(target=0.1), Bar(target=0.1, vetoes_off=(veto,))),
    ):
        if outcome(one, bar, level).serves:
            assert outcome(one, lifted, level).serves


def test_the_bar_that_was_in_force_changes_nothing() -> None:
    miss = past(nearby(similarity=0.5, probability=0.2), served=None, worth=3)
    seen = [past(), miss]
    found = replay([(one, outcome(one, Bar(similarity=0.8))) for one in seen])
    assert (found.hits_before, found.hits_after, found.begun, found.ended) == (1, 1, 0, 0)
    assert (found.saved_before, found.saved_after) == (7, 7)
    assert found.expected_wrong == pytest.approx(0.01)


READ = nearby(fired=("asked?", "stored?"))


def read(record: dict[str, Any]) -> PastDecision | None:
    """Read a record under word rules that say which questions they were given."""
    return read_past_decision(record, lambda asked, stored: (asked, stored))


def test_a_record_is_read_with_its_money() -> None:
    row = {
        "entry": "e",
        "question": "stored?",
        "similarity": 0.9,
        "penalty": 0.0,
        "probability": 0.99,
        "veto": None,
        "supported": True,
        "age_s": 3,
    }
    shown = {"kind": "semantic", "candidate": "e", "candidates": [row]}
    record = {
        "id": "dec_1",
        "at": 1.0,
        "scope": "s",
        "namespace": "n",
        "fingerprint": "f",
        "asked": "asked?",
        "decision": shown,
        "saved_usd": "0.000000007",
        "cost_usd": "0.000000000",
    }
    assert read(record) == past(READ)
    miss = {**record, "decision": {**shown, "kind": "miss"}, "cost_usd": "0.000000003"}
    assert read(miss) == past(READ, served=None, worth=3)
    assert read({**miss, "cost_usd": None}) == past(READ, served=None, worth=0)
    full = {**row, "evidence": as_json(evidence())}
    shown_full = {**record, "decision": {**shown, "candidates": [full]}}
    assert read(shown_full) == past(replace(READ, evidence=evidence()))
    assert read({**record, "asked": None}) == past(nearby(fired=None))  # not kept
    assert read_recorded_evidence({"of": "another version"}) is None
    for kind, rows in (("exact", [row]), ("miss", []), ("bypass", [])):
        assert read({**record, "decision": {"kind": kind, "candidates": rows}}) is None


def test_a_rate_counts_the_unsure_apart_and_weighs_what_stands_for_many() -> None:
    told = [
        LabelledCandidate(0.9, right=True, weight=3, worth=5),
        LabelledCandidate(0.9, right=False, worth=2),
        LabelledCandidate(0.8, right=None, worth=1),
        LabelledCandidate(0.1, right=False, worth=100),
    ]
    found = rate(told, 0.8, total=6)
    assert (found.hits, found.unsure, found.wrong, found.saved) == (3, 1, 1, 8)
    assert found.hit_rate == 0.5
    assert found.wrong_rate == 0.25
    assert 0 < found.wrong_low < 0.25 < found.wrong_high < 1


def test_a_scope_with_many_labels_does_not_hide_one_with_many_hits() -> None:
    good = [LabelledCandidate(1.0, True) for _ in range(96)]
    bad = [LabelledCandidate(1.0, right) for right in (True, True, True, False)]
    labels = {"good": good, "bad": bad, "silent": [LabelledCandidate(1.0, False)]}
    found = rate(by_hits(labels, {"good": 10, "bad": 30}), 0.0)
    assert found.wrong_rate == pytest.approx(30 / 4 / 40)
    assert found.wrong_low < found.wrong_rate < found.wrong_high
    assert rate(by_hits(labels, {}), 0.0).wrong_rate == pytest.approx(2 / 101)
    alone = rate(by_hits({"bad": bad}, {"bad": 7}), 0.0)
    assert alone.wrong_high == pytest.approx(rate(bad, 0.0).wrong_high)


def test_nothing_told_is_no_certainty() -> None:
    found = rate([LabelledCandidate(0.9, right=None)], 0.5)
    assert (found.hits, found.wrong_low, found.wrong_high) == (1, 0, 1)
    assert found.hit_rate is None


@given(st.lists(tolds, min_size=1, max_size=40))
def test_a_curve_goes_from_the_strictest_bar_down(told: list[LabelledCandidate]) -> None:
    points = rates(told, total=100)
    assert [p.bar for p in points] == sorted({p.bar for p in points}, reverse=True)
    assert [p.hits for p in points] == sorted(p.hits for p in points)
    assert [p.saved for p in points] == sorted(p.saved for p in points)
    for point in points:
        assert point == rate(told, point.bar, total=100)
        assert 0 <= point.wrong_low <= point.wrong_high <= 1


@given(st.lists(tolds, max_size=40), st.floats(0.01, 0.5))
def test_what_is_recommended_keeps_the_target_and_nothing_looser_does(
    told: list[LabelledCandidate], target: float
) -> None:
    best = recommended(told, target, total=100)
    right = {one.score for one in told if one.right}  # bars lie at these alone
    points = [p for p in rates(told, total=100) if p.bar in right]
    assert all(p.wrong_high > target for p in points if best is None or p.bar < best.bar)
    assert best is None or best.wrong_high <= target
