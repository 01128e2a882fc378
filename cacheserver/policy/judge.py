"""May a stored answer be served? One step at a time: a verdict, or a pair the verifier must read.

Cheap evidence first. The verifier is asked only where that has not decided, the likeliest
candidate first, at most three. A veto passes to the next candidate. Pure: whoever calls asks the
verifier and calls again with its scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

from cacheserver.policy import calibrate, evidence, features, prior, vetoes
from cacheserver.policy.calibrate import Calibration
from cacheserver.policy.lexicon import Lexicon
from cacheserver.policy.neighbours import Evidence, Neighbour, evidence_for
from cacheserver.policy.profile import Profile

JUDGED = 3  # nearest neighbours that may be served; the others only speak for or against
MOST_ASKED = 3  # candidates the verifier reads, 2 to 4 ms each
# Below this share of the bar's odds no verifier lifts a candidate over it: of the pairs it was
# fitted on, one in 200 rose by more.
_HOPELESS = 0.02

# Twins (`evidence.twins`) are served before a scope has labels: fitted on labels of which one in
# six is noise, the prior never says what their words say. Of the 1,654 in the train rows of
# BANKING77 and CLINC150 (`scripts/count_twins`) 13 carry two intents; read one by one, 12 of these
# ask the same: 1 in 1,654, Wilson's upper bound 0.34%. As a probability it clears the prior's bar
# for targets of 0.4% and more. Once a scope has labels of its own, these say what a twin is worth
# there: where "weather in rome" wants a new answer each time, two in five of them are wrong.
TWIN = 0.999
TWIN_COSINE = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate and what was found."""

    id: str
    evidence: Evidence | None  # None: vetoed
    probability: float  # 0 where vetoed
    veto: str | None = None
    supported: bool | None = None  # None: not asked for


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


def judge(
    question: Profile,
    neighbours: Sequence[Neighbour],
    scores: Mapping[str, float] | None,
    state: Calibration,
    level: float,
    *,
    lexicon: Lexicon,
    enabled: frozenset[str],
) -> Verdict | Ask:
    """The verdict on `neighbours` (nearest first), or the next pair for the verifier.

    `scores` holds what the verifier said by neighbour id; None: there is no verifier. `level` is
    the probability to reach, inclusive; `enabled` the names of the vetoes that hold.
    """
    judged = [
        _judged(question, n, neighbours, scores, state, lexicon=lexicon, enabled=enabled)
        for n in neighbours[:JUDGED]
    ]
    ranked = sorted(judged, key=lambda j: j.probability, reverse=True)
    asked = 0 if scores is None else len(scores)
    for one in ranked:
        if one.evidence is None:
            continue
        if one.probability >= level:
            return Verdict(one, tuple(ranked))
        unread = scores is not None and one.id not in scores
        if unread and asked < MOST_ASKED and _odds(one.probability) >= _HOPELESS * _odds(level):
            return Ask(one.id, both=asked == 0)
    return Verdict(None, tuple(ranked))


def _judged(
    question: Profile,
    neighbour: Neighbour,
    neighbours: Sequence[Neighbour],
    scores: Mapping[str, float] | None,
    state: Calibration,
    *,
    lexicon: Lexicon,
    enabled: frozenset[str],
) -> Judged:
    difference = evidence.compare(question, neighbour.profile, lexicon)
    fired = vetoes.fired(difference, frozenset(vetoes.VETOES), lexicon)
    for veto in fired:
        if veto in enabled:
            return Judged(neighbour.id, None, 0.0, veto)
    lexical = features.features(difference, fired, lexicon)
    score = None if scores is None else scores.get(neighbour.id)
    plain = _logit(prior.prior(neighbour.similarity, None, lexical))
    verified = None if score is None else _logit(prior.prior(neighbour.similarity, score, lexical))
    twin = neighbour.similarity >= TWIN_COSINE and evidence.twins(difference)
    found = evidence_for(neighbour, neighbours, plain, verified, twin=twin)
    told = calibrate.probability(state, found, neighbour.adjustment)
    if twin and state.young and neighbour.adjustment >= 0:
        told = max(told, TWIN)
    return Judged(neighbour.id, replace(found, told=told), told)


def _odds(probability: float) -> float:
    return probability / max(1e-9, 1 - probability)


def _logit(probability: float) -> float:
    inner = min(max(probability, 1e-9), 1 - 1e-9)
    return log(inner / (1 - inner))
