"""Rules of verification: when the cheapest Claude is asked whether a stored answer serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cacheserver.core.rules.bounds import STRICT

# `auto`: inline where the answer is dear and slow enough; in the background where it is not, the
# fresh answer will not be stored, and repeats make it pay; else not.
Mode: TypeAlias = Literal["off", "background", "inline", "auto"]


@dataclass(frozen=True, slots=True)
class VerificationRules:
    """Verification of one tenant; in its JSON, the bare word of `mode` does."""

    __pydantic_config__ = STRICT

    mode: Mode = "auto"
    only_if_cached: bool = False  # ask for a request that forbids asking Claude for its answer
    caller_keys: bool = False  # ask on a caller's own key, which pays for it
