"""What may wait, for half the price."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class BatchRules:
    """Rules of batching."""

    __pydantic_config__ = STRICT

    enabled: bool = True
