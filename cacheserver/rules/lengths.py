"""How long answers may be."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class LengthRules:
    """Rules of output caps."""

    __pydantic_config__ = STRICT

    enabled: bool = True
