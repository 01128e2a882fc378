from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cacheserver.english.language import english
from cacheserver.matching import calibration
from cacheserver.matching import decision as judging
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.decision import Verdict, judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour, evidence_for
from cacheserver.matching.prior import UNFITTED
from cacheserver.matching.support import REACH, ReferenceRange, Support

ENGLISH = english()
SAID = ReferenceRange(0.0, 1.0)  # no word is new
EVERYWHERE = Support(ReferenceRange(-1.0, 1.0), SAID, least=-1.0)  # where labels tell
ASKED = "How do I reset the password of my router?"
SAME = "How can I reset my router's password?"
OTHER = "Which wines go with grilled fish?"


def stored(id: str, text: str, similarity: float, group: str | None = None) -> Neighbour:
    return Neighbour(id, similarity, group or id, ENGLISH.profile(text))


def from_crowd(least: float, **groups: float) -> Support:
    """Where labels tell from a crowd of `least` on, or of a group's own."""
    reach = REACH * 0.1
    means = {group: crowd + reach for group, crowd in groups.items()}
    return Support(ReferenceRange(least + reach, 0.1, means), SAID)


def barred(level: float, *, target: float = 0.5, support: Support = EVERYWHERE) -> Bar:
    return Bar(target, level, "labels", 0.0, 0.0, 0, 0, support)


def decide(
    neighbours: Sequence[Neighbour],
    *,
    level: float = 0.5,
    target: float = 0.5,
    support: Support = EVERYWHERE,
    question: str = ASKED,
    enabled: frozenset[str] = ALL_VETOES,
) -> Verdict:
    return judge(
        ENGLISH.profile(question),
        neighbours,
        Calibration(),
        barred(level, target=target, support=support),
        language=ENGLISH,
        enabled=enabled,
    )


def test_a_near_twin_is_served_and_the_verdict_says_why() -> None:
    found = decide([stored("a", SAME, 0.97)])
    assert found.serve is not None
    assert found.serve.id == "a"
    assert found.serve.evidence is not None
    assert found.serve.probability >= 0.5


def test_nothing_stored_is_a_miss_without_a_candidate() -> None:
    assert decide([]) == Verdict(None, (), "empty")


def test_the_bar_is_inclusive() -> None:
    neighbours = [stored("a", SAME, 0.9)]
    (judged,) = decide(neighbours, level=2.0).candidates
    assert decide(neighbours, level=judged.probability).serve == judged
    assert decide(neighbours, level=judged.probability + 1e-9).serve is None


def test_a_preferred_candidate_goes_first_among_those_that_pass_and_passes_no_less() -> None:
    nearer, vouched = stored("a", SAME, 0.97), replace(stored("b", SAME, 0.9), preferred=True)
    both = decide([nearer, vouched])
    assert both.serve is not None
    assert both.serve.id == "b"
    assert [one.id for one in both.candidates] == ["a", "b"]
    least = both.serve.probability
    assert decide([nearer, vouched], level=least + 1e-9).serve == both.candidates[0]
    other = replace(stored("b", OTHER, 0.2), preferred=True)
    found = decide([nearer, other])
    assert found.serve is not None
    assert found.serve.id == "a"
    assert decide([other]).serve is None


def test_a_vetoed_candidate_gives_way_to_the_next() -> None:
    trap = stored("trap", "How do I not reset the password of my router?", 0.98)
    found = decide([trap, stored("a", SAME, 0.95)], level=0.2)
    assert found.serve is not None
    assert found.serve.id == "a"
    assert [j.veto for j in found.candidates if j.id == "trap"] == ["negation"]


def test_a_veto_that_is_switched_off_does_not_hold() -> None:
    trap = stored("trap", "How do I not reset the password of my router?", 0.98)
    (judged,) = decide([trap], enabled=ALL_VETOES - {"negation"}).candidates
    assert judged.veto is None
    assert judged.probability > 0


def test_the_margin_is_to_another_answer_and_not_to_another_wording() -> None:
    neighbours = [
        stored("a", SAME, 0.90, "g"),
        stored("b", SAME, 0.88, "g"),
        stored("c", OTHER, 0.70, "h"),
    ]
    found = evidence_for(neighbours[0], neighbours, 0.0, coverage=1.0)
    assert round(found.margin, 6) == 0.20
    assert found.share == 2 / 5
    assert found.second == 0.88
    behind = evidence_for(neighbours[2], neighbours, 0.0, coverage=1.0)
    assert behind.margin < 0


def test_an_entrys_own_record_counts() -> None:
    a = stored("a", SAME, 0.95)
    doubted = Neighbour(a.id, a.similarity, a.group, a.profile, adjustment=-4.0)
    plain, less = (decide([n], level=2.0).candidates[0].probability for n in (a, doubted))
    assert less < plain


def test_a_twin_is_served_at_once_and_later_by_what_labels_say_of_twins() -> None:
    twin = stored("a", "How can I reset the password of my router?", 0.97)
    (told,) = decide([twin], level=0.99).candidates
    assert told.evidence is not None
    assert told.evidence.twin
    assert told.probability == judging.TWIN
    state = Calibration()
    for _ in range(calibration.LEAST):
        state = calibration.learn(state, Label(told.evidence, False, 1.0, "miss", False, "e"))
    state = calibration.refit(state)
    found = judge(
        ENGLISH.profile(ASKED), [twin], state, barred(0.99), language=ENGLISH, enabled=ALL_VETOES
    )
    assert found.serve is None
    assert found.candidates[0].probability < 0.99


def test_evidence_says_whose_it_is_and_what_it_was_told() -> None:
    (judged,) = decide([stored("a", SAME, 0.9, "g")], level=2.0).candidates
    assert judged.evidence is not None
    assert (judged.evidence.entry, judged.evidence.group) == ("a", "g")
    assert judged.evidence.recorded_probability == judged.probability


TWIN = "How can I reset the password of my router?"
NOT = "How do I not reset the password of my router?"  # the veto `negation`
# Ten that agree, so that labels tell of them: the prior alone asks for no company.
NEAR = [stored(str(place), SAME, 0.9, "g") for place in range(10)]
FAR = [stored(str(place), SAME, 0.3, "g") for place in range(10)]


@pytest.mark.parametrize(
    ("neighbours", "bar", "reason"),
    [
        ([], {}, "empty"),
        ([stored("trap", NOT, 0.98)], {}, "vetoed"),
        ([stored("trap", NOT, 0.98), stored("again", NOT, 0.97)], {}, "vetoed"),
        ([stored("trap", NOT, 0.98), stored("a", OTHER, 0.1)], {}, "improbable"),
        (FAR, {"level": 0.99, "target": 0.01}, "improbable"),
        (NEAR, {"level": 2.0}, "below-bar"),
        (NEAR, {"level": 0.5, "support": from_crowd(0.95)}, "unsupported"),
        (NEAR, {"level": 0.5, "support": from_crowd(0.5, g=0.95)}, "unsupported"),
        (NEAR, {"level": 0.5, "support": from_crowd(0.95, g=0.5)}, "probable"),
        (NEAR, {"level": 0.5}, "probable"),
        ([stored("a", TWIN, 0.9)], {"level": 0.5, "support": from_crowd(0.95)}, "probable"),
    ],
)
def test_the_reason_is_what_the_likeliest_lacks(
    neighbours: list[Neighbour], bar: dict[str, Any], reason: str
) -> None:
    found = decide(neighbours, **bar)
    assert found.reason == reason
    assert (found.serve is not None) == (reason == "probable")


def test_a_vetoed_nearest_is_told_beside_a_likelier_far_one() -> None:
    found = decide([stored("trap", NOT, 0.98), stored("a", OTHER, 0.1)])
    assert [(one.id, one.veto) for one in found.candidates] == [("a", None), ("trap", "negation")]
    assert found.candidates[1].supported is None


def test_one_that_is_not_supported_gives_way_to_one_that_is() -> None:
    near = [stored("a", SAME, 0.9, "g"), *(stored(f"b{n}", SAME, 0.89, "h") for n in range(9))]
    found = decide(near, level=0.0, support=from_crowd(0.5, g=0.95))
    assert found.serve is not None
    assert found.serve.evidence is not None
    assert found.serve.evidence.group == "h"


def test_a_crowd_is_how_near_the_nearest_five_lie() -> None:
    near = [stored(str(n), SAME, cosine) for n, cosine in enumerate((0.9, 0.8, 0.7, 0.6, 0.5))]
    few, many = near[:2], [*near, *(stored(str(n), SAME, 0.1) for n in range(5, 10))]
    for found, crowd in ((few, 0.85), (near, 0.7), (many, 0.7)):
        for one in found:
            assert evidence_for(one, found, 0.0, coverage=1.0).crowd == pytest.approx(crowd)


def test_without_a_fitted_prior_a_scope_without_labels_serves_twins_only() -> None:
    def cold(text: str, similarity: float) -> Verdict:
        return judge(
            ENGLISH.profile(ASKED),
            [stored("a", text, similarity), *(stored(x, OTHER, 0.1) for x in "bcdef")],
            Calibration(),
            barred(0.9, target=0.1),
            language=ENGLISH,
            enabled=ALL_VETOES,
            prior=UNFITTED,
        )

    twin, near = cold("How can I reset the password of my router?", 0.99), cold(SAME, 0.999)
    assert twin.serve is not None
    assert near.serve is None or (near.serve.evidence is not None and near.serve.evidence.twin)
    other = cold("How do I change the name of my router?", 0.999)
    assert (other.serve, other.candidates[0].probability <= 0.5) == (None, True)
