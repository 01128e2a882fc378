"""State of a tenant's verification by its audited verdicts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cacheserver.matching.verification import LEAST_AUDITED, Audited, breaks_target

State: TypeAlias = Literal["stated", "measured", "off"]


@dataclass(frozen=True, slots=True)
class AuditState:
    """Counts of a tenant, and what they led to."""

    audited: Audited = field(default_factory=Audited)
    hits: int = 0  # verified hits that were audited
    wrong_hits: int = 0
    off: bool = False  # switched off: wrong hits broke the target
    drifted_at: float | None = None  # when the share of yeses last changed; Unix seconds
    resets: int = 0  # times that an operator had the counts forgotten

    @property
    def name(self) -> State:
        """Return the state of verification: its rates are stated or measured, or it is off."""
        if self.off:
            return "off"
        enough = min(self.audited.yeses, self.audited.noes) >= LEAST_AUDITED
        return "measured" if enough else "stated"

    def breaks(self, target: float) -> bool:
        """Return whether audited hits were wrong more often than `target` beyond chance."""
        return breaks_target(self.wrong_hits, self.hits, target)
