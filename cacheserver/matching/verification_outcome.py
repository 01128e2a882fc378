"""Outcome of verification: what may be asked about, what came back, and the decision after it.

Rule: whatever fails is a miss with a reason. What asks is behind `cache.ports.Verifier`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from cacheserver.core.types import Hit, Miss, Nanodollars, Query
from cacheserver.matching.decision import ScoredCandidate

# Decisions of the words, the labels and the cosine. All others are rules, which no yes overrules.
_UNSURE = frozenset(("vetoed", "unsupported", "improbable", "below-bar"))

# `background`: the model is asked while the miss goes on; `dropped`: it was to be, but too many
# calls wait, or the server stops; `gone`: its entry is stored no more.
Verdict: TypeAlias = Literal[
    "yes", "no", "failed", "slow", "capped", "gone", "background", "dropped"
]

# Of a miss that was verified.
REASONS: Final[Mapping[Verdict, str]] = {
    "no": "refuted",
    "failed": "verify-failed",
    "slow": "verify-slow",
    "capped": "verify-capped",
    "gone": "verify-gone",
}


@dataclass(frozen=True, slots=True)
class Plausible:
    """Candidates judged with the decisive vetoes alone, and what their answers must reach."""

    candidates: Sequence[ScoredCandidate]
    floor: float  # least probability of a single hit
    target: float  # greatest wrong share of the hits
    cold_start: bool  # the scope has not learned where its labels are evidence


@dataclass(frozen=True, slots=True)
class Verified:
    """Outcome of a verification."""

    verdict: Verdict
    asked: tuple[str, ...]  # entry ids, in the order in which the model saw them
    model: str | None = None
    served: str | None = None  # the entry that a yes serves
    posterior: float | None = None  # of that entry
    audit_share: float = 0.0  # of such hits that are asked again
    cost: Nanodollars = 0  # of the call, if this request made it
    seconds: float = 0.0  # that this request waited
    remembered: bool = False  # the verdict is an earlier one


def unsure(query: Query, decision: Miss) -> bool:
    """Return whether a miss was decided by evidence, so that more evidence may change it."""
    return decision.reason in _UNSURE and query.volatile is None and query.text is not None


def decided(decision: Miss, found: Plausible, verified: Verified) -> Hit | Miss:
    """Return the decision after verification: a hit `verified`, or the miss and why it is one.

    The hit has evidence, and its audit is a label, only if a refusal would have been one too: of
    the candidate that a miss is learned from, and where no veto fired. Labels of yeses alone would
    raise the probability of what only a yes makes probable.
    """
    if verified.verdict in ("background", "dropped"):
        return decision
    if verified.served is None:
        return replace(decision, reason=REASONS[verified.verdict])
    one = next(c for c in decision.neighbours if c.entry.id == verified.served)
    scored = next(c for c in found.candidates if c.id == verified.served)
    learned = decision.likeliest is not None and decision.likeliest.entry.id == verified.served
    served = replace(
        one,
        evidence=one.evidence if learned else None,
        probability=verified.posterior,
        veto=None,
        supported=scored.supported,
    )
    return Hit(
        served,
        "semantic",
        "verified",
        found.floor,
        decision.basis,
        audit_share=verified.audit_share,
        neighbours=decision.neighbours,
    )
