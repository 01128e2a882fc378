"""Volatility of a question: how long its answer may live, by when, where and by whom it is asked.

A `Language` detects it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cacheserver.core.types import VolatilityCaps

VolatilityKind = Literal["stable", "time", "place", "personal"]


@dataclass(frozen=True, slots=True)
class Volatility:
    """Kind of a question, and the probability that its answer is of this kind.

    `probability` is 1.0 if a cue decides. `cue` names the rule, or is "drift" if the model
    decides. It never holds words of the text.
    """

    kind: VolatilityKind
    probability: float
    cue: str | None = None


def ttl_cap_s(volatility: Volatility, caps: VolatilityCaps) -> int | None:
    """Return the longest time to live of an answer, in seconds.

    0: neither look up nor store. None: no cap.
    """
    match volatility.kind:
        case "stable":
            return None
        case "time":
            return caps.drift_s if volatility.cue == "drift" else caps.time_s
        case "place":
            return caps.place_s
        case "personal":
            return caps.personal_s
