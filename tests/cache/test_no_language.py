"""Without word rules, similarity serves the answer to the same normalised text and no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.absent import NoLanguage
from cacheserver.cache.freshness import decide
from cacheserver.calibration.answers.comparison import Cosines, Exchange, Grouped, outcome
from cacheserver.calibration.answers.reply import Reply
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.decision import Verdict, foil, judge
from cacheserver.matching.language import UNREADABLE, Language
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.question_text import matched_text
from cacheserver.matching.support import ReferenceRange, Support
from scripts.pairs.own import own_pairs

NOTHING: Language = NoLanguage()
PRIOR = conformal_bound.bar_for(Calibration(), 0.01)
ANYTHING = ReferenceRange(-1.0, 1.0)
# A bar that everything clears.
LOW = Bar(0.5, 0.0, "labels", 0.0, 0.0, 0, 0, Support(ANYTHING, ANYTHING, least=-1.0))
OFF = frozenset[str]()  # no veto is on

pairs = st.sampled_from(own_pairs()).map(lambda row: (row[0], row[1]))


def stored(text: str, similarity: float = 1.0) -> Neighbour:
    return Neighbour(text, similarity, text, NOTHING.profile(text))


def judged(question: str, answered: str, bar: Bar) -> Verdict:
    asked = NOTHING.profile(question)
    return judge(asked, [stored(answered)], Calibration(), bar, language=NOTHING, enabled=OFF)


@given(pairs)
def test_no_similarity_serves_another_text(pair: tuple[str, str]) -> None:
    one, other = (matched_text(text, NOTHING)[0] or text for text in pair)
    verdict = judged(one, other, LOW)
    assert (verdict.serve is None) == (one != other)
    if one != other:
        assert (verdict.reason, verdict.candidates[0].veto) == ("vetoed", UNREADABLE)
        by_hand = decide(NOTHING.profile(one), [stored(other)], 0.1, language=NOTHING, enabled=OFF)
        assert (by_hand.serve, by_hand.reason) == (None, "vetoed")
        assert by_hand.vetoes == {other: UNREADABLE}


@pytest.mark.parametrize(
    "sent", ["  What is a mutex?", "What is a mutex?\r\n", "\uff37hat is a mutex?"]
)
def test_the_same_text_in_another_spelling_is_served(sent: str) -> None:
    text = matched_text(sent, NOTHING)[0]
    assert text == "What is a mutex?"
    assert judged(text, "What is a mutex?", PRIOR).serve is not None


def test_nothing_is_learned_from_what_cannot_be_read() -> None:
    asked = NOTHING.profile("What is a mutex?")
    near = [stored(f"What is a mutex {n}?", 0.99) for n in range(5)]
    assert foil(asked, near, "mine", NOTHING) is None
    answer = Reply(NOTHING.profile("A lock that one thread holds at a time."), None, None)
    fresh, other = Exchange(asked, answer), Exchange(near[0].profile, answer)
    assert outcome(fresh, Grouped("g", other, Cosines(0.99, 1.0)), NOTHING) == "open"
