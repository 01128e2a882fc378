"""Replays recorded decisions under another bar.

Rule: a decision whose record does not determine the outcome is counted apart, never guessed.
Vetoes are computed again from the questions, so that those missing in a record apply too. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, cast

from cacheserver.cache.freshness import EXPLAINED, decide, enabled_vetoes
from cacheserver.core.evidence import Evidence, read_evidence
from cacheserver.core.money import usd
from cacheserver.core.types import Bar, Nanodollars
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Label
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.decision import JUDGED
from cacheserver.matching.language import UNREADABLE, Language, vetoes_between
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Difference, Profile

_POINTS = 50  # of a curve: more cannot be told apart on a screen


@dataclass(frozen=True, slots=True)
class Nearby:
    """Candidate as recorded."""

    entry: str
    fired: tuple[str, ...] | None  # all vetoes of its question, or `UNREADABLE`; None: not known
    similarity: float
    penalty: float = 0.0  # subtracted from the similarity before it is compared with a threshold
    probability: float | None = None  # None: vetoed, or not computed
    veto: str | None = None
    supported: bool | None = None  # as of then
    evidence: Evidence | None = None  # None: vetoed, not computed, or of an older version


@dataclass(frozen=True, slots=True)
class PastDecision:
    """Recorded decision that had a similar candidate."""

    id: str
    at: float
    scope: str
    namespace: str
    fingerprint: str
    served: str | None  # whose answer, by entry id; None: a miss
    candidates: tuple[Nearby, ...]  # the most similar first, at most `EXPLAINED`
    worth: Nanodollars  # what a hit saved, or would have


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one decision under another bar."""

    serves: bool | None  # None: undetermined by the record
    reason: str | None = None  # of the decision; None: undetermined
    candidate: Nearby | None = None  # that it serves
    vetoes: Mapping[str, str] | None = None  # that hold under the bar, by entry id


@dataclass(frozen=True, slots=True)
class Replay:
    """Totals of replayed decisions."""

    decisions: int
    untold: int  # undetermined by their records
    hits_before: int
    hits_after: int
    begun: int  # hits that were misses
    ended: int  # misses that were hits
    expected_wrong: float | None  # of the hits after, by their probabilities; None: one has none
    saved_before: Nanodollars
    saved_after: Nanodollars
    reasons: Mapping[str, int]  # of the replayed decisions, hits and misses


@dataclass(frozen=True, slots=True)
class LabelledCandidate:
    """Candidate with a label: whether its answer served."""

    score: float  # compared with the bar
    right: bool | None  # None: undecided
    weight: float = 1.0  # candidates that it stands for
    worth: Nanodollars = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Outcome of a bar over labelled candidates, with Wilson's 95% interval."""

    bar: float
    hits: int
    hit_rate: float | None  # of all questions; None: unknown
    unsure: int  # undecided hits
    wrong: int
    wrong_rate: float
    wrong_low: float
    wrong_high: float
    saved: Nanodollars


def read_past_decision(
    record: Mapping[str, Any], vetoes: Callable[[str, str], tuple[str, ...]]
) -> PastDecision | None:
    """Read a decision's record; None if it had no similar candidate.

    `vetoes` returns all that fire between two questions, or `UNREADABLE`.
    """
    shown = record.get("decision") or {}
    rows = shown.get("candidates")
    if not rows or shown.get("kind") not in ("semantic", "miss"):
        return None
    if shown.get("reason") == "uncorroborated":  # no bar would have served it
        return None
    served = shown["candidate"] if shown["kind"] == "semantic" else None
    asked = record.get("asked")
    return PastDecision(
        id=str(record["id"]),
        at=float(record["at"]),
        scope=str(record["scope"]),
        namespace=str(record["namespace"]),
        fingerprint=str(record["fingerprint"]),
        served=served,
        candidates=tuple(
            Nearby(
                entry=row["entry"],
                fired=None
                if asked is None or row["question"] is None
                else vetoes(asked, row["question"]),
                similarity=row["similarity"],
                penalty=row["penalty"],
                probability=row["probability"],
                veto=row["veto"],
                supported=row["supported"],
                evidence=read_recorded_evidence(row.get("evidence")),
            )
            for row in rows
        ),
        worth=_nanodollars(record.get("saved_usd" if served else "cost_usd")),
    )


def read_recorded_evidence(row: Mapping[str, Any] | None) -> Evidence | None:
    """Read recorded evidence; None if there is none, or of a version with other fields."""
    try:
        return None if row is None else read_evidence(row)
    except TypeError:
        return None


def replay_decision(past: PastDecision, bar: Bar, needed: conformal_bound.Bar | None) -> Outcome:
    """Replay a recorded decision under `bar`.

    `needed` is the bar that `bar.target` requires in its scope today, None if the bar has no
    target.
    """
    if bar.exact_only:
        return Outcome(False, "exact-only")
    fired = {one.entry: one.fired for one in past.candidates if one.fired is not None}
    if len(fired) < len(past.candidates):
        return Outcome(None)  # which vetoes hold cannot be told without the questions
    enabled, question = enabled_vetoes(bar), cast(Profile, None)
    if bar.similarity is not None:
        neighbours = [
            Neighbour(
                one.entry, one.similarity - one.penalty, one.entry, cast(Profile, fired[one.entry])
            )
            for one in past.candidates
        ]
        selection = decide(question, neighbours, bar.similarity, language=_FIRED, enabled=enabled)
        served = next((one for one in past.candidates if one.entry == selection.serve), None)
        all_reach = min(n.similarity for n in neighbours) >= bar.similarity
        if served is None and len(neighbours) == EXPLAINED and all_reach:
            return Outcome(None)  # all are vetoed, and the next one stands in no record
        return Outcome(served is not None, selection.reason, served, selection.vetoes)
    judged = {
        one.entry: vetoes_between(question, cast(Profile, fired[one.entry]), enabled, _FIRED)
        for one in past.candidates[:JUDGED]
    }
    refused = {entry: names[0] for entry, names in judged.items() if names}
    assert needed is not None  # else it is exact only
    return _by_target(past, needed, refused)


class _Fired:
    """Word rules over vetoes that are known: they stand in for the profile of a candidate."""

    def compare(self, a: Profile, b: Profile) -> Difference | None:
        fired = cast(Sequence[str], b)
        return None if UNREADABLE in fired else cast(Difference, fired)

    def vetoes(self, difference: Difference, enabled: frozenset[str]) -> tuple[str, ...]:
        fired = cast(Sequence[str], difference)
        return tuple([name for name in fired if name in enabled])


_FIRED = cast(Language, _Fired())


def _by_target(
    past: PastDecision, needed: conformal_bound.Bar, refused: Mapping[str, str]
) -> Outcome:
    """Return the most probable candidate that passes; undecided if an unscored one might."""
    if needed.basis == "closed":
        return Outcome(False, "closed", None, refused)
    left = [one for one in past.candidates[:JUDGED] if one.entry not in refused]
    judged = [(one.probability, one) for one in left if one.probability is not None]
    judged.sort(key=lambda pair: pair[0], reverse=True)
    lacks = [(lacking(p, one.evidence, one.supported, needed), one) for p, one in judged]
    for lack, one in lacks:
        if lack is None:
            return Outcome(True, "probable", one, refused)
    if needed.level <= 1 and len(judged) < len(left):
        return Outcome(None)
    return Outcome(False, lacks[0][0] if lacks else "vetoed", None, refused)


def lacking(
    probability: float,
    evidence: Evidence | None,
    supported: bool | None,
    needed: conformal_bound.Bar,
) -> str | None:
    """Return the requirement that a candidate does not meet under a target; None: it meets all.

    Shut groups and support are applied to its evidence, as of today; without recorded evidence only
    the recorded `supported` is used.
    """
    if needed.basis == "closed" or (evidence is not None and evidence.group in needed.shut):
        return "closed"
    if probability < needed.floor:
        return "improbable"
    if probability < needed.level:
        return "below-bar"
    holds = supported is not False if evidence is None else needed.support.contains(evidence)
    return None if holds else "unsupported"


def replay(decided: Iterable[tuple[PastDecision, Outcome]]) -> Replay:
    """Sum up past decisions and their outcomes by `replay_decision`."""
    every = list(decided)
    replayed = [(past, found) for past, found in every if found.serves is not None]
    before = [past for past, _ in replayed if past.served]
    after = [(past, found.candidate) for past, found in replayed if found.candidate is not None]
    probabilities = [candidate.probability for _, candidate in after]
    expected = sum(1 - p for p in probabilities if p is not None)
    return Replay(
        decisions=len(every),
        untold=len(every) - len(replayed),
        hits_before=len(before),
        hits_after=len(after),
        begun=sum(past.served is None for past, _ in after),
        ended=sum(past.served is not None and not found.serves for past, found in replayed),
        expected_wrong=None if None in probabilities else expected,
        saved_before=sum(past.worth for past in before),
        saved_after=sum(past.worth for past, _ in after),
        reasons=dict(Counter(found.reason for _, found in replayed if found.reason is not None)),
    )


def rate(candidates: Iterable[LabelledCandidate], bar: float, *, total: int | None = None) -> Rate:
    """Return the outcome of a bar, inclusive. `total` counts all questions, also without candidate.

    Weighted candidates stand for several, so the interval uses the effective sample size.
    """
    served = [one for one in candidates if one.score >= bar]
    judged = [one for one in served if one.right is not None]
    weight = sum(one.weight for one in judged)
    share = sum(one.weight for one in judged if not one.right) / weight if weight else 0.0
    effective = weight * weight / sum(one.weight**2 for one in judged) if weight else 0.0
    low, high = wilson(share * effective, effective)
    return Rate(
        bar=bar,
        hits=len(served),
        hit_rate=len(served) / total if total else None,
        unsure=len(served) - len(judged),
        wrong=sum(not one.right for one in judged),
        wrong_rate=share,
        wrong_low=low,
        wrong_high=high,
        saved=sum(one.worth for one in served),
    )


def by_hits(
    labels: Mapping[str, Sequence[LabelledCandidate]], hits: Mapping[str, int]
) -> list[LabelledCandidate]:
    """Return the labels of several scopes, weighted so that each scope stands for its hits.

    Else the scope with most labels would decide for one with many hits. Scopes without hits are
    left out, unless no scope has both hits and labels: then all labels count as they are.
    """
    found = []
    for scope, own in labels.items():
        weight = sum(one.weight for one in own if one.right is not None)
        if weight and (count := hits.get(scope, 0)):
            found += [replace(one, weight=one.weight * count / weight) for one in own]
    return found or [one for own in labels.values() for one in own]


def served_labels(
    sampled: Sequence[Label],
    probabilities: Sequence[float] | None,
    similarity: float | None,
    needed: conformal_bound.Bar | None,
) -> list[LabelledCandidate]:
    """Return the labels that a bar would serve: by `similarity`, or by `needed` of a target.

    Both None: exact hits only, none. `probabilities` are those of the labels, for a target. The
    slider and the dry run count wrong hits by these.
    """
    cleared: list[Label] = []
    if similarity is not None:
        cleared = [label for label in sampled if label.evidence.cosine >= similarity]
    elif needed is not None and probabilities is not None:
        cleared = [
            label
            for probability, label in zip(probabilities, sampled, strict=True)
            if lacking(probability, label.evidence, None, needed) is None
        ]
    return [LabelledCandidate(1.0, label.right, label.weight) for label in cleared]


def rate_as_json(found: Rate) -> dict[str, Any]:
    """Encode a rate, its money in dollars."""
    shown = asdict(found)
    shown["saved_usd"] = usd(shown.pop("saved"))
    return shown


def rates(candidates: Sequence[LabelledCandidate], *, total: int) -> list[Rate]:
    """Return rates from the strictest bar to the loosest, each at a score that occurs."""
    scores = sorted({one.score for one in candidates}, reverse=True)
    step = max(1, len(scores) // _POINTS)
    return [rate(candidates, bar, total=total) for bar in scores[::step]]


def recommended(
    candidates: Sequence[LabelledCandidate], target: float, *, total: int
) -> Rate | None:
    """Return the loosest bar whose upper bound of wrong hits is at most `target`, or None.

    It is at the score of a right candidate, as in `precision_curve.recommended`.
    """
    for bar in sorted({one.score for one in candidates if one.right}):
        found = rate(candidates, bar, total=total)
        if found.wrong_high <= target:
            return found
    return None


def _nanodollars(dollars: object) -> Nanodollars:
    return int(Decimal(dollars) * 1_000_000_000) if isinstance(dollars, str) else 0
