"""Comparison of two exchanges: does one answer serve both questions?

Rule: "different" only with evidence against it, "same" only without any; everything else is open,
and gives no label. A group is joined only if the texts themselves say the same: a group too small
costs hits, one too large serves wrong answers. Off the request path. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp
from typing import Literal, TypeAlias

from cacheserver.calibration.answers.reply import Reply
from cacheserver.matching.language import ALL_VETOES, Language
from cacheserver.matching.profile import Profile

Outcome: TypeAlias = Literal["same", "different", "open"]

# A logistic. Every sign is fixed by what its term means; the sizes are rounded from a fit to pairs
# of prose and to template answers of BANKING77's nearest questions (`scripts/evaluation/prose.py`
# prints what they come to, `docs/quality.md` the table).
_BIAS = 0.8
_QUESTIONS, _QUESTIONS_AT = 2.5, 0.8  # cosine of the questions
_ANSWERS, _ANSWERS_AT = 10.0, 0.65  # cosine of the answers
_LEAN = 3.0  # how much nearer each question is to its own answer than to the other's
_AGAINST_VETO = 2.5  # a veto stands between the questions
_AGAINST_FIGURES = 3.5  # few figures of the answer with fewer are in the other
_AGAINST_YES_NO = 4.0
_AGAINST_WORD = 3.0  # a veto stands between the answers
# Cosines are clipped here: two wordings of one answer were as low as 0.28, and two questions, of
# which one has an abbreviation, as 0.31.
_ANSWERS_LEAST, _QUESTIONS_LEAST, _LEAN_MOST = 0.4, 0.5, 0.3
_SAME = 1.0  # log odds
_DIFFERENT = -2.2

# Brief answers that agree ("No.", "spam") say little of whether one serves the other's question:
# two reviews are not spam, each for itself. They are a label only where the questions are near: of
# 800 questions that ask for the same one word, 2% have an earlier one as near as this, and no veto
# between; 26% have one at 0.85.
_NEAR = 0.95
# Vetoes that contradict in an answer too; the other vetoes are about what a question asks for.
_ANSWER_VETOES = frozenset(
    ("numeric", "unit", "temporal", "negation", "antonym", "entity", "substitution", "direction")
)
# Meaning words that differ, from which on no veto fires: each asks that the rest agrees. Without it
# two answers of 1,500 words took 0.4 s.
_FEW = 16
_SMALL = 0.5  # weight of a figure of one digit: "the two amounts", "step 3"

SAME = 0.5  # `same_text` from here on groups
SURE = 0.9  # `same_text` from here on, or from 1 - SURE down, is sure
# A logistic over cosine and shared words. On answers worded by template it finds 98 of 100 of
# the same, and takes 1 in 500 of the near ones for the same.
_TEXT_BIAS, _TEXT_COSINE, _TEXT_SHARED = -32.0, 35.0, 11.0
_SHORT = 12  # words; up to here one more "not" is another answer, beyond it is often style
_TEXT_NUMBERS = 16.0  # each has figures that the other lacks
_TEXT_LONE_NUMBER = 2.0  # one of them has figures, the other none
_TEXT_DENIAL = 12.0
_YES_NO = frozenset(("yes", "no"))


@dataclass(frozen=True, slots=True)
class Exchange:
    """Question with the answer it got."""

    question: Profile
    reply: Reply


@dataclass(frozen=True, slots=True)
class Cosines:
    """Cosines between the embeddings of two exchanges."""

    questions: float
    answers: float
    lean: float = 0.0  # of each question to its own answer less that to the other's, summed
    parted: bool = False  # long answers, alike on the whole and not at the beginning or the end
    known: bool = True  # False: what a cosine means is unknown of the embedder; only words count


# Cosines that are evidence for nothing and against nothing.
NEUTRAL = Cosines(questions=_QUESTIONS_AT, answers=_ANSWERS_AT, known=False)


@dataclass(frozen=True, slots=True)
class Grouped:
    """Stored exchange compared with a new one."""

    group: str
    stored: Exchange
    cosines: Cosines


def outcome(fresh: Exchange, beside: Grouped, language: Language) -> Outcome:
    """Compare two exchanges: does one answer serve both questions? Symmetric."""
    a, b, near = fresh.reply, beside.stored.reply, beside.cosines
    question_difference = language.compare(fresh.question, beside.stored.question)
    if question_difference is None:
        return "open"
    vetoed = bool(language.vetoes(question_difference, ALL_VETOES))
    if a.brief or b.brief:
        return _brief(a, b, near.questions, vetoed=vetoed)
    opposed = None not in (a.yes, b.yes) and a.yes != b.yes
    word = _word_against(a.profile, b.profile, language)
    clash, weight = _clash(a.profile.numbers, b.profile.numbers)
    logit = (
        _BIAS
        + _QUESTIONS * (max(near.questions, _QUESTIONS_LEAST) - _QUESTIONS_AT)
        + _ANSWERS * (max(near.answers, _ANSWERS_LEAST) - _ANSWERS_AT)
        - _LEAN * min(_LEAN_MOST, max(0.0, near.lean))
        - _AGAINST_VETO * vetoed
        - _AGAINST_FIGURES * clash * weight
        - _AGAINST_YES_NO * opposed
        - _AGAINST_WORD * word
    )
    if logit <= _DIFFERENT:
        return "different"
    contradicted = vetoed or word or clash > 0.5
    return "same" if logit >= _SAME and not contradicted and not near.parted else "open"


def verdict(fresh: Exchange, group: Iterable[Grouped], language: Language) -> Outcome:
    """Compare a fresh answer with a group's available answers, by `majority`."""
    return majority([outcome(fresh, one, language) for one in group])


def majority(outcomes: Iterable[Outcome]) -> Outcome:
    """Return one outcome from the comparisons with several answers of one group.

    "same" if more comparisons say so than say different; "different" if those outnumber the others
    more than two to one: two wordings may be far apart while a third is near both. If 5% of equal
    answers are called different and 15% open, then of three answers 0.5% are different and 5% open.
    """
    listed = list(outcomes)
    same, different = listed.count("same"), listed.count("different")
    if same > different:
        return "same"
    return "different" if different > 2 * same else "open"


def assign(fresh: Exchange, neighbours: Iterable[Grouped], language: Language) -> str | None:
    """Return the group of the neighbour whose answer is most surely the same; None: a new group.

    The first of equals. Doubtful answers get a group of their own, and so do brief answers whose
    questions are not near.
    """
    best, sure = None, SAME
    for one in neighbours:
        if not one.cosines.known:
            continue
        a, b = fresh.reply, one.stored.reply
        probability = same_text(one.cosines.answers, a.profile, b.profile)
        if one.cosines.parted or probability < sure or (probability == sure and best is not None):
            continue
        found = outcome(fresh, one, language)
        if found == "same" or (found == "open" and not (a.brief or b.brief)):
            best, sure = one.group, probability
    return best


def same_text(cosine: float, a: Profile, b: Profile) -> float:
    """Return the probability that two texts say the same, whatever was asked. Symmetric."""
    logit = _TEXT_BIAS + _TEXT_COSINE * cosine + _TEXT_SHARED * _contained(a, b)
    if a.numbers - b.numbers and b.numbers - a.numbers:
        logit -= _TEXT_NUMBERS
    elif bool(a.numbers) != bool(b.numbers):
        logit -= _TEXT_LONE_NUMBER
    short = max(a.length, b.length) <= _SHORT
    one, other = a.every & _YES_NO, b.every & _YES_NO
    opposed = bool(one and other) and one.isdisjoint(other)
    if opposed or (short and bool(a.negations) != bool(b.negations)):
        logit -= _TEXT_DENIAL
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def _brief(a: Reply, b: Reply, questions: float, *, vetoed: bool) -> Outcome:
    """Compare two answers of which one has too few words for an embedding to decide."""
    if None not in (a.yes, b.yes) and a.yes != b.yes:
        return "different"
    one, other = a.profile.bag, b.profile.bag
    equal = a.words is not None and a.words == b.words
    if equal or (a.brief and one and one <= other) or (b.brief and other and other <= one):
        return "same" if questions >= _NEAR and not vetoed else "open"
    figures = a.profile.numbers and b.profile.numbers
    if figures and a.profile.numbers.isdisjoint(b.profile.numbers):
        return "different"
    labels = a.brief and b.brief and one and other and one.isdisjoint(other)
    return "different" if labels else "open"


def _word_against(a: Profile, b: Profile, language: Language) -> bool:
    """Return True if the answers agree except for a word that contradicts, or cannot be read."""
    if len(a.bag ^ b.bag) > _FEW:
        return False
    difference = language.compare(a, b)
    return difference is None or bool(language.vetoes(difference, _ANSWER_VETOES))


def _clash(a: frozenset[str], b: frozenset[str]) -> tuple[float, float]:
    """Return the share of figures that contradict, 0 to 1, and the weight of that, 0 to 1.

    0 if half of the figures of the answer with fewer are in the other too, or one has none.
    """
    fewer = min(_weight(a), _weight(b))
    if not fewer:
        return 0.0, 0.0
    return max(0.0, 1 - 2 * _weight(a & b) / fewer), min(1.0, fewer)


def _weight(numbers: frozenset[str]) -> float:
    return sum(1.0 if len(number) > 1 else _SMALL for number in numbers)


def _contained(a: Profile, b: Profile) -> float:
    """Return the share of the meaning words of the shorter answer that the other has too."""
    fewer = min(len(a.bag), len(b.bag))
    return len(a.bag & b.bag) / fewer if fewer else 0.5
