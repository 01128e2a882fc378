"""What is left out of long conversations."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class HistoryRules:
    """Rules of shortening conversations; off: the body goes as it came."""

    __pydantic_config__ = STRICT

    enabled: bool = False
