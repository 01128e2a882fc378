"""Bars beside others: no one key's labels lower a level, open what is shut, or close the scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.evidence import Evidence
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from tests.matching.test_conformal_bound import CROWD, drawn

TARGET = 0.01


def by(caller: str, labels: Sequence[Label]) -> list[Label]:
    return [replace(label, caller=caller) for label in labels]


def honest(count: int, *, seed: int = 1) -> list[Label]:
    labels = drawn(count, seed=seed)
    return [replace(label, caller=f"k{at % 5}.") for at, label in enumerate(labels)]


def hit(group: str, *, right: bool, caller: str, told: float = 0.99) -> Label:
    found = Evidence(
        0.95, 0.2, 1.0, 1.0, 0.8, 4.0, company=10, recorded_probability=told, crowd=CROWD
    )
    found = replace(found, group=group, entry=f"{group} 1")
    return Label(found, right, 1.0, "audit", True, "e", caller=caller)


def bar(labels: Sequence[Label], target: float = TARGET) -> conformal_bound.Bar:
    return conformal_bound.bar_for(Calibration(labels=tuple(labels)), target)


@pytest.mark.parametrize("caller", ["mallory.", "mallory.u{}", "k1.mallory"])
@pytest.mark.parametrize("seed", [0, 1])  # in which easy labels of their own would lower it
def test_easy_labels_of_one_key_or_end_user_do_not_lower_a_level(caller: str, seed: int) -> None:
    others = honest(900, seed=seed)
    rng = Random(seed)
    told = [
        conformal_bound.probability_floor(TARGET) + 0.005 + rng.random() / 20 for _ in range(800)
    ]
    easy = [hit("easy", right=True, caller=caller.format(at), told=p) for at, p in enumerate(told)]
    mixed = [label for pair in zip(others, easy, strict=False) for label in pair] + others[800:]
    share = len(others) / len(mixed)  # of the wrong hit that nobody has seen, too
    shown = [
        point.level
        for point in conformal_bound.risk_curve(
            [(probability_of(one), one) for one in others], unseen=share
        )
        if point.risk <= TARGET
    ]
    assert bar(by("", mixed)).level < min(shown)  # were they all one's
    assert bar(mixed).basis == "labels"
    assert bar(mixed).level >= min(shown)


def probability_of(label: Label) -> float:
    assert label.evidence.recorded_probability is not None
    return label.evidence.recorded_probability


@given(st.integers(0, 1_000), st.integers(300, 900), st.booleans())
@settings(max_examples=20)
def test_labels_of_one_key_do_not_open_what_anothers_shut(
    seed: int, count: int, served: bool
) -> None:
    others = honest(300, seed=seed)
    others += [hit("broken", right=False, caller="k1.") for _ in range(4)]
    assert conformal_bound.shut_groups(others, TARGET) == {"broken"}
    sent = by("mallory.", drawn(count, seed=seed + 1, served=served))
    sent = [replace(one, evidence=replace(one.evidence, group="theirs")) for one in sent]
    assert "broken" in conformal_bound.shut_groups(others + sent, TARGET)


def test_end_users_of_one_key_widen_no_support_together() -> None:
    rng = Random(3)
    others = honest(400)
    sent = [hit("far", right=True, caller=f"mallory.u{at}") for at in range(350)]
    sent = [
        replace(one, evidence=replace(one.evidence, crowd=rng.uniform(0.4, 0.5))) for one in sent
    ]
    assert bar(others + sent).support.least == pytest.approx(bar(others).support.least)
    assert not bar(others + sent).support.contains(sent[0].evidence)


def broken(count: int, callers: Sequence[str]) -> list[Label]:
    return [
        hit(f"bad {at // 2}", right=False, caller=callers[at % len(callers)])
        for at in range(2 * count)
    ]


@pytest.mark.parametrize(
    ("callers", "basis"), [(["mallory."], "labels"), (["k1.", "mallory."], "closed")]
)
def test_a_scope_is_closed_by_more_than_one_keys_wrong_hits(callers: list[str], basis: str) -> None:
    rights = [
        replace(one, evidence=replace(one.evidence, group=f"g{at % 20}"))
        for at, one in enumerate(honest(900))
    ]
    fitted = Calibration(labels=tuple(rights))
    wrong = broken(12, callers)
    state = replace(fitted, labels=(*rights, *wrong), fresh=len(wrong))
    found = conformal_bound.bar_for(state, TARGET)
    assert found.basis == basis
    if basis == "labels":
        assert {f"bad {at}" for at in range(12)} <= found.shut
        assert found.level == bar(rights).level


def test_a_key_by_itself_closes_its_scope() -> None:
    rights = by("only.", drawn(300))
    wrong = broken(12, ["only."])
    state = Calibration(labels=(*rights, *wrong), fresh=len(wrong))
    assert conformal_bound.bar_for(state, TARGET).basis == "closed"
