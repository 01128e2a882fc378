"""Decisions of the past under another bar: what would have been served, and what of it was wrong.

Rule: a decision whose record does not tell how it would have gone is counted apart, never guessed.
Vetoes are read anew from the questions, so that those a record does not name hold too. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cacheserver.cache.freshness import EXPLAINED, decide, enabled_vetoes
from cacheserver.core.evidence import Evidence, read_evidence
from cacheserver.core.types import Bar, Nanodollars
from cacheserver.matching import conformal_bound
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.decision import JUDGED
from cacheserver.matching.lexicon import Lexicon
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Profile
from cacheserver.matching.vetoes import vetoes

_POINTS = 50  # of a curve: more cannot be told apart on a screen


@dataclass(frozen=True, slots=True)
class Nearby:
    """A candidate as it was recorded."""

    entry: str
    question: str | None  # None: not kept
    similarity: float
    penalty: float = 0.0  # what a threshold is held against is less by it
    probability: float | None = None  # None: vetoed, or nobody asked for it
    veto: str | None = None
    supported: bool | None = None  # as of then
    evidence: Evidence | None = None  # None: vetoed, nobody asked for it, or of an older version


@dataclass(frozen=True, slots=True)
class PastDecision:
    """A decision that turned on a stored question, as it was recorded."""

    id: str
    at: float
    scope: str
    namespace: str
    fingerprint: str
    asked: str | None  # None: not kept
    served: str | None  # whose answer, by entry id; None: a miss
    candidates: tuple[Nearby, ...]  # the most similar first, at most `EXPLAINED`
    worth: Nanodollars  # what a hit saved, or would have


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one decision under another bar."""

    serves: bool | None  # None: the record does not tell
    reason: str | None = None  # as a decision would give it; None: the record does not tell
    candidate: Nearby | None = None  # that it serves
    vetoes: Mapping[str, str] | None = None  # that hold under the bar, by entry id


@dataclass(frozen=True, slots=True)
class Replay:
    """What a bar would have made of past decisions."""

    decisions: int
    untold: int  # whose records do not say what the bar would have done
    hits_before: int
    hits_after: int
    begun: int  # hits that were misses
    ended: int  # misses that were hits
    expected_wrong: float | None  # of the hits after, by their probabilities; None: one has none
    saved_before: Nanodollars
    saved_after: Nanodollars
    reasons: Mapping[str, int]  # of those decided anew, hits and misses


@dataclass(frozen=True, slots=True)
class LabelledCandidate:
    """A candidate of which it is known whether its answer served."""

    score: float  # what is held against the bar
    right: bool | None  # None: that could not be told
    weight: float = 1.0  # how many such it stands for
    worth: Nanodollars = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bar serves of candidates that were told of; the interval is Wilson's, 95%."""

    bar: float
    hits: int
    hit_rate: float | None  # of all that was asked; None: not known
    unsure: int  # hits of which it could not be told
    wrong: int
    wrong_rate: float
    wrong_low: float
    wrong_high: float
    saved: Nanodollars


def past_of(record: Mapping[str, Any]) -> PastDecision | None:
    """A decision's record read; None where it turned on no stored question."""
    shown = record.get("decision") or {}
    rows = shown.get("candidates")
    if not rows or shown.get("kind") not in ("semantic", "miss"):
        return None
    if shown.get("reason") == "uncorroborated":  # no bar would have served it
        return None
    served = shown["candidate"] if shown["kind"] == "semantic" else None
    return PastDecision(
        id=str(record["id"]),
        at=float(record["at"]),
        scope=str(record["scope"]),
        namespace=str(record["namespace"]),
        fingerprint=str(record["fingerprint"]),
        asked=record.get("asked"),
        served=served,
        candidates=tuple(
            Nearby(
                entry=row["entry"],
                question=row["question"],
                similarity=row["similarity"],
                penalty=row["penalty"],
                probability=row["probability"],
                veto=row["veto"],
                supported=row["supported"],
                evidence=evidence_of(row.get("evidence")),
            )
            for row in rows
        ),
        worth=_nanodollars(record.get("saved_usd" if served else "cost_usd")),
    )


def evidence_of(row: Mapping[str, Any] | None) -> Evidence | None:
    """Evidence as it was recorded; None where it was not, or by a version that had other fields."""
    try:
        return None if row is None else read_evidence(row)
    except TypeError:
        return None


def under(
    past: PastDecision,
    bar: Bar,
    needed: conformal_bound.Bar | None,
    *,
    read: Callable[[str], Profile],
    lexicon: Lexicon,
) -> Outcome:
    """Decide a recorded decision anew, under `bar`.

    `needed` is what `bar.target` asks for in its scope today, None where the bar has no target;
    `read` profiles a text.
    """
    if bar.exact_only:
        return Outcome(False, "exact-only")
    texts = {one.entry: one.question for one in past.candidates if one.question is not None}
    if past.asked is None or len(texts) < len(past.candidates):
        return Outcome(None)  # which vetoes hold cannot be told without the questions
    enabled, asked = enabled_vetoes(bar), read(past.asked)
    if bar.similarity is not None:
        neighbours = [
            Neighbour(one.entry, one.similarity - one.penalty, one.entry, read(texts[one.entry]))
            for one in past.candidates
        ]
        selection = decide(asked, neighbours, bar.similarity, lexicon=lexicon, enabled=enabled)
        served = next((one for one in past.candidates if one.entry == selection.serve), None)
        all_reach = min(n.similarity for n in neighbours) >= bar.similarity
        if served is None and len(neighbours) == EXPLAINED and all_reach:
            return Outcome(None)  # all are vetoed, and the next one stands in no record
        return Outcome(served is not None, selection.reason, served, selection.vetoes)
    fired = {
        one.entry: vetoes(asked, read(texts[one.entry]), enabled, lexicon)
        for one in past.candidates[:JUDGED]
    }
    refused = {entry: names[0] for entry, names in fired.items() if names}
    assert needed is not None  # else it is exact only
    return _by_target(past, needed, refused)


def _by_target(
    past: PastDecision, needed: conformal_bound.Bar, refused: Mapping[str, str]
) -> Outcome:
    """The likeliest candidate that clears; untold where one was never judged that may have."""
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
    """Name what a candidate lacks to serve under a target, as a decision does; None: nothing.

    What is shut and what is supported is read of its evidence, as of today; where none was
    recorded, only what was `supported` then is known.
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
    """Past decisions and what `under` says of each, summed up."""
    known = list(decided)
    told = [(past, found) for past, found in known if found.serves is not None]
    before = [past for past, _ in told if past.served]
    after = [(past, found.candidate) for past, found in told if found.candidate is not None]
    probabilities = [candidate.probability for _, candidate in after]
    expected = sum(1 - p for p in probabilities if p is not None)
    return Replay(
        decisions=len(known),
        untold=len(known) - len(told),
        hits_before=len(before),
        hits_after=len(after),
        begun=sum(past.served is None for past, _ in after),
        ended=sum(past.served is not None and not found.serves for past, found in told),
        expected_wrong=None if None in probabilities else expected,
        saved_before=sum(past.worth for past in before),
        saved_after=sum(past.worth for past, _ in after),
        reasons=dict(Counter(found.reason for _, found in told if found.reason is not None)),
    )


def rate(told: Iterable[LabelledCandidate], bar: float, *, asked: int | None = None) -> Rate:
    """What a bar serves, inclusive. `asked` counts all questions, those without candidate too.

    Weighted ones stand for many and tell of fewer: the interval is of as many as they tell of.
    """
    served = [one for one in told if one.score >= bar]
    known = [one for one in served if one.right is not None]
    total = sum(one.weight for one in known)
    share = sum(one.weight for one in known if not one.right) / total if total else 0.0
    tell_of = total * total / sum(one.weight**2 for one in known) if total else 0.0
    low, high = wilson(share * tell_of, tell_of)
    return Rate(
        bar=bar,
        hits=len(served),
        hit_rate=len(served) / asked if asked else None,
        unsure=len(served) - len(known),
        wrong=sum(not one.right for one in known),
        wrong_rate=share,
        wrong_low=low,
        wrong_high=high,
        saved=sum(one.worth for one in served),
    )


def rates(told: Sequence[LabelledCandidate], *, asked: int) -> list[Rate]:
    """Rates from the strictest bar to the loosest, each at a score that was seen."""
    scores = sorted({one.score for one in told}, reverse=True)
    step = max(1, len(scores) // _POINTS)
    return [rate(told, bar, asked=asked) for bar in scores[::step]]


def recommended(told: Sequence[LabelledCandidate], target: float, *, asked: int) -> Rate | None:
    """The loosest bar whose upper bound of wrong hits is at most `target`; None: there is none.

    It lies at the score of a right one, as in `curve`.
    """
    for bar in sorted({one.score for one in told if one.right}):
        found = rate(told, bar, asked=asked)
        if found.wrong_high <= target:
            return found
    return None


def _nanodollars(usd: object) -> Nanodollars:
    return int(Decimal(usd) * 1_000_000_000) if isinstance(usd, str) else 0
