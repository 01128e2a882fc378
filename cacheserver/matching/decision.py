"""Decides whether a stored answer may be served. A vetoed candidate is skipped. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal, TypeAlias

from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.language import ALL_VETOES, UNREADABLE, Language
from cacheserver.matching.neighbours import Neighbour, evidence_for
from cacheserver.matching.prior import MINILM, Prior
from cacheserver.matching.profile import Profile

JUDGED = 3  # nearest neighbours that may be served; the others only count as evidence
_FEWEST_OTHERS = 3  # neighbours needed for a foil

# Probability of twins (`Language.are_twins`) before a scope has labels. The prior was fitted on
# labels of which one in six is noise, so it is never this sure. Of the 835 twins in the train rows
# of BANKING77 and CLINC150 (`scripts/count_twins`) 5 carry two intents, and these ask the same if
# read one by one. The value passes the prior's bar for targets of 0.4% and more. Once a scope has
# labels, they decide what a twin is worth: if "weather in rome" needs a new answer each time, two
# in five twins are wrong.
TWIN = 0.999
# Least cosine of twins. The words are the proof; the cosine only separates texts that an embedder
# tells apart and words do not. Of 485 near misses (`scripts/pairs/twin_pairs.tsv`) none is a twin
# at any cosine; of 258 twins 177 reach 0.95, 235 reach 0.9, 257 reach 0.6 (slips are low).
TWIN_COSINE = 0.6


Reason: TypeAlias = Literal[
    "probable", "empty", "vetoed", "closed", "unsupported", "improbable", "below-bar"
]


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """Candidate with its evidence and probability."""

    id: str
    evidence: Evidence | None  # None: vetoed
    probability: float  # 0 if vetoed
    veto: str | None = None
    supported: bool | None = None  # within the bar's support; None: vetoed


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision on the candidates of a question."""

    serve: ScoredCandidate | None  # the candidate whose answer serves
    candidates: tuple[ScoredCandidate, ...]  # all of them, most probable first
    reason: Reason


def judge(
    question: Profile,
    neighbours: Sequence[Neighbour],
    state: Calibration,
    bar: Bar,
    *,
    language: Language,
    enabled: frozenset[str],
    prior: Prior = MINILM,
) -> Verdict:
    """Return the verdict on `neighbours` (nearest first).

    A candidate serves if no veto of `enabled` fires, its answer group is not shut, its probability
    reaches the bar's level (which is never below the floor), and the bar's support contains it.
    Of several, one that is `preferred` goes before more probable ones, and passes no less.
    """
    candidates = neighbours[:JUDGED]
    covered = {
        group: _covered(question, neighbours, group, language)
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
            language=language,
            enabled=enabled,
            prior=prior,
        )
        for one in candidates
    ]
    ranked = sorted(judged, key=lambda j: j.probability, reverse=True)
    passing = [
        one
        for one in ranked
        if one.supported and not _shut(one, bar) and one.probability >= bar.level
    ]
    if passing:
        preferred = {one.id for one in candidates if one.preferred}
        serve = next((one for one in passing if one.id in preferred), passing[0])
        return Verdict(serve, tuple(ranked), "probable")
    return Verdict(None, tuple(ranked), _why(ranked[0], bar) if ranked else "empty")


def _shut(one: ScoredCandidate, bar: Bar) -> bool:
    return one.evidence is not None and one.evidence.group in bar.shut


def _why(likeliest: ScoredCandidate, bar: Bar) -> Reason:
    """Return why the most probable candidate was not served."""
    if likeliest.veto is not None:
        return "vetoed"  # probability 0, so all others are vetoed too
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
    language: Language,
    enabled: frozenset[str],
    prior: Prior,
) -> ScoredCandidate:
    difference = language.compare(question, neighbour.profile)
    if difference is None:
        return ScoredCandidate(neighbour.id, None, 0.0, UNREADABLE)
    fired = language.vetoes(difference, ALL_VETOES)
    for veto in fired:
        if veto in enabled:
            return ScoredCandidate(neighbour.id, None, 0.0, veto)
    lexical = language.features(difference, fired)
    log_odds = _logit(prior.probability(neighbour.similarity, lexical))
    twin = neighbour.similarity >= TWIN_COSINE and language.are_twins(difference)
    found = evidence_for(neighbour, neighbours, log_odds, coverage=covered, twin=twin)
    probability = calibration.probability(state, found, neighbour.adjustment)
    if state.cold_start and not prior.fitted:
        probability = min(probability, prior.probability(neighbour.similarity, lexical))
    if twin and state.cold_start and neighbour.adjustment >= 0:
        probability = max(probability, TWIN)
    found = replace(found, recorded_probability=probability)
    return ScoredCandidate(neighbour.id, found, probability, supported=bar.support.contains(found))


def _covered(
    question: Profile, neighbours: Sequence[Neighbour], group: str, language: Language
) -> float:
    return language.coverage(question, [n.profile for n in neighbours if n.group == group])


def foil(
    question: Profile,
    neighbours: Sequence[Neighbour],
    group: str,
    language: Language,
    prior: Prior = MINILM,
) -> Evidence | None:
    """Return the foil: evidence for the nearest other answer, as if `group` were not stored.

    `group` holds the right answer. So the foil is an example of a wrong hit: the evidence of a
    question whose answer is not stored. The caller has checked that the other answer differs. None
    if there are fewer than three neighbours of other answers, or if `language` cannot read the two.
    """
    others = [n for n in neighbours if n.group != group]
    if len(others) < _FEWEST_OTHERS:
        return None
    difference = language.compare(question, others[0].profile)
    if difference is None:
        return None
    fired = language.vetoes(difference, ALL_VETOES)
    lexical = language.features(difference, fired)
    log_odds = _logit(prior.probability(others[0].similarity, lexical))
    covered = _covered(question, others, others[0].group, language)
    found = evidence_for(others[0], others, log_odds, coverage=covered)
    # The number of neighbours stays; it is no label of a group or an entry.
    return replace(found, company=len(neighbours), group="", entry="")


def _logit(probability: float) -> float:
    inner = min(max(probability, 1e-9), 1 - 1e-9)
    return log(inner / (1 - inner))
