"""May a stored answer be served? One step at a time: a verdict, or a pair the verifier must read.

Cheap evidence first. The verifier is asked only where that has not decided, the likeliest
candidate first, at most three. A veto passes to the next candidate. Pure: whoever calls asks the
verifier and calls again with its scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal, TypeAlias

from cacheserver.policy import calibrate, evidence, features, prior, vetoes
from cacheserver.policy.bound import Bar
from cacheserver.policy.calibrate import Calibration
from cacheserver.policy.lexicon import Lexicon
from cacheserver.policy.neighbours import Evidence, Neighbour, evidence_for
from cacheserver.policy.profile import Profile
from cacheserver.policy.vocabulary import coverage

JUDGED = 3  # nearest neighbours that may be served; the others only speak for or against
MOST_ASKED = 3  # candidates the verifier reads, 2 to 4 ms each
# Below this share of the bar's odds no verifier lifts a candidate over it: of the pairs it was
# fitted on, one in 200 rose by more.
_HOPELESS = 0.02

_FEWEST_OTHERS = 3  # neighbours that make a foil
_ALL = frozenset(vetoes.VETOES)

# Twins (`evidence.twins`) are served before a scope has labels: fitted on labels of which one in
# six is noise, the prior never says what their words say. Of the 835 in the train rows of BANKING77
# and CLINC150 (`scripts/count_twins`) 5 carry two intents, and read one by one these ask the same.
# As a probability it clears the prior's bar for targets of 0.4% and more. Once a scope has labels
# of its own, these say what a twin is worth there: where "weather in rome" wants a new answer each
# time, two in five of them are wrong.
TWIN = 0.999
# The words are the proof; the cosine only keeps apart what an embedder sees and words do not. Of
# 485 near misses of our own (`scripts/pairs/twin_pairs.tsv`) none is a twin at any, and of 258
# twins 177 reach 0.95, 235 reach 0.9 and 257 reach 0.6: typing slips lie low.
TWIN_COSINE = 0.6


Reason: TypeAlias = Literal[
    "probable", "empty", "vetoed", "closed", "unsupported", "improbable", "below-bar"
]


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate and what was found."""

    id: str
    evidence: Evidence | None  # None: vetoed
    probability: float  # 0 where vetoed
    veto: str | None = None
    supported: bool | None = None  # it lies where labels or the prior tell; None: vetoed


@dataclass(frozen=True, slots=True)
class Ask:
    """The verifier must read the question against this candidate, in both orders or in one."""

    id: str
    both: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """`serve` is the candidate whose answer serves; `judged` all of them, the likeliest first."""

    serve: Judged | None
    judged: tuple[Judged, ...]
    reason: Reason


def judge(
    question: Profile,
    neighbours: Sequence[Neighbour],
    scores: Mapping[str, float] | None,
    state: Calibration,
    bar: Bar,
    *,
    lexicon: Lexicon,
    enabled: frozenset[str],
) -> Verdict | Ask:
    """Return the verdict on `neighbours` (nearest first), or the next pair for the verifier.

    A candidate serves if no veto of `enabled` refuses it, its probability reaches the bar's level,
    and with it the floor, and the bar's support holds. `scores` holds what the verifier said by
    neighbour id; None: there is no verifier.
    """
    candidates = neighbours[:JUDGED]
    covered = {
        group: _covered(question, neighbours, group, lexicon)
        for group in {one.group for one in candidates}
    }
    judged = [
        _judged(
            question,
            one,
            neighbours,
            scores,
            state,
            bar,
            covered=covered[one.group],
            lexicon=lexicon,
            enabled=enabled,
        )
        for one in candidates
    ]
    ranked = sorted(judged, key=lambda j: j.probability, reverse=True)
    asked = 0 if scores is None else len(scores)
    for one in ranked:
        if not one.supported or _shut(one, bar):
            continue
        if one.probability >= bar.level:
            return Verdict(one, tuple(ranked), "probable")
        unread = scores is not None and one.id not in scores
        hopeless = _odds(one.probability) < _HOPELESS * _odds(bar.level)
        if unread and asked < MOST_ASKED and not hopeless:
            return Ask(one.id, both=asked == 0)
    return Verdict(None, tuple(ranked), _why(ranked[0], bar) if ranked else "empty")


def _shut(one: Judged, bar: Bar) -> bool:
    return one.evidence is not None and one.evidence.group in bar.shut


def _why(likeliest: Judged, bar: Bar) -> Reason:
    """Name what the likeliest candidate lacks."""
    if likeliest.veto is not None:
        return "vetoed"  # and so are all others
    if _shut(likeliest, bar):
        return "closed"
    if likeliest.probability < bar.floor:
        return "improbable"
    return "below-bar" if likeliest.probability < bar.level else "unsupported"


def _judged(
    question: Profile,
    neighbour: Neighbour,
    neighbours: Sequence[Neighbour],
    scores: Mapping[str, float] | None,
    state: Calibration,
    bar: Bar,
    *,
    covered: float,
    lexicon: Lexicon,
    enabled: frozenset[str],
) -> Judged:
    difference = evidence.compare(question, neighbour.profile, lexicon)
    fired = vetoes.fired(difference, _ALL, lexicon)
    for veto in fired:
        if veto in enabled:
            return Judged(neighbour.id, None, 0.0, veto)
    lexical = features.features(difference, fired, lexicon)
    score = None if scores is None else scores.get(neighbour.id)
    plain = _logit(prior.prior(neighbour.similarity, None, lexical))
    verified = None if score is None else _logit(prior.prior(neighbour.similarity, score, lexical))
    twin = neighbour.similarity >= TWIN_COSINE and evidence.twins(difference)
    found = evidence_for(neighbour, neighbours, plain, verified, coverage=covered, twin=twin)
    told = calibrate.probability(state, found, neighbour.adjustment)
    if twin and state.young and neighbour.adjustment >= 0:
        told = max(told, TWIN)
    found = replace(found, told=told)
    return Judged(neighbour.id, found, told, supported=bar.support.holds(found))


def _covered(
    question: Profile, neighbours: Sequence[Neighbour], group: str, lexicon: Lexicon
) -> float:
    return coverage(question, [n.profile for n in neighbours if n.group == group], lexicon)


def foil(
    question: Profile, neighbours: Sequence[Neighbour], group: str, lexicon: Lexicon
) -> Evidence | None:
    """Return the evidence for the nearest of another answer, as if `group` were not stored.

    A question whose right answer is `group`'s shows in this way how a question looks whose answer
    is not there: its neighbours may agree as well as if they were right. None: fewer than three
    others tell nothing. The caller knows that the other answer is a different one.
    """
    others = [n for n in neighbours if n.group != group]
    if len(others) < _FEWEST_OTHERS:
        return None
    difference = evidence.compare(question, others[0].profile, lexicon)
    fired = vetoes.fired(difference, _ALL, lexicon)
    lexical = features.features(difference, fired, lexicon)
    plain = _logit(prior.prior(others[0].similarity, None, lexical))
    covered = _covered(question, others, others[0].group, lexicon)
    found = evidence_for(others[0], others, plain, None, coverage=covered)
    # As among as many neighbours as there were; of groups and entries it tells nothing.
    return replace(found, company=len(neighbours), group="", entry="")


def _odds(probability: float) -> float:
    return probability / max(1e-9, 1 - probability)


def _logit(probability: float) -> float:
    inner = min(max(probability, 1e-9), 1 - 1e-9)
    return log(inner / (1 - inner))
