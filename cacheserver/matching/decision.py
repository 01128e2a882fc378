"""Decide if a stored answer may be served. A veto passes to the next candidate. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal, TypeAlias

from cacheserver.matching import calibration, evidence, features, prior, vetoes
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.lexicon import Lexicon
from cacheserver.matching.neighbours import Evidence, Neighbour, evidence_for
from cacheserver.matching.profile import Profile
from cacheserver.matching.vocabulary import coverage

JUDGED = 3  # nearest neighbours that may be served; the others only speak for or against
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
class Verdict:
    """`serve` is the candidate whose answer serves; `judged` all of them, the likeliest first."""

    serve: Judged | None
    judged: tuple[Judged, ...]
    reason: Reason


def judge(
    question: Profile,
    neighbours: Sequence[Neighbour],
    state: Calibration,
    bar: Bar,
    *,
    lexicon: Lexicon,
    enabled: frozenset[str],
) -> Verdict:
    """Return the verdict on `neighbours`, which come nearest first.

    A candidate serves if no veto of `enabled` refuses it, its probability reaches the bar's level,
    and with it the floor, and the bar's support holds.
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
            state,
            bar,
            covered=covered[one.group],
            lexicon=lexicon,
            enabled=enabled,
        )
        for one in candidates
    ]
    ranked = sorted(judged, key=lambda j: j.probability, reverse=True)
    for one in ranked:
        if one.supported and not _shut(one, bar) and one.probability >= bar.level:
            return Verdict(one, tuple(ranked), "probable")
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
    log_odds = _logit(prior.prior(neighbour.similarity, lexical))
    twin = neighbour.similarity >= TWIN_COSINE and evidence.twins(difference)
    found = evidence_for(neighbour, neighbours, log_odds, coverage=covered, twin=twin)
    told = calibration.probability(state, found, neighbour.adjustment)
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
    log_odds = _logit(prior.prior(others[0].similarity, lexical))
    covered = _covered(question, others, others[0].group, lexicon)
    found = evidence_for(others[0], others, log_odds, coverage=covered)
    # As among as many neighbours as there were; of groups and entries it tells nothing.
    return replace(found, company=len(neighbours), group="", entry="")


def _logit(probability: float) -> float:
    inner = min(max(probability, 1e-9), 1 - 1e-9)
    return log(inner / (1 - inner))
