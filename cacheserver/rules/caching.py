"""How Claude's own prompt cache is used."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class CachingRules:
    """Rules of prompt-cache planning."""

    __pydantic_config__ = STRICT

    enabled: bool = True
