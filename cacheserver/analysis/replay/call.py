"""A request to Claude from a log or a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cacheserver.core.types import Nanodollars, Usage


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its result. Values that a log lacks are None or empty."""

    at: float  # when it was sent, Unix seconds
    model: str  # Claude's id of the model asked
    usage: Usage  # what it was billed for
    body: Mapping[str, Any] | None = None  # the Messages body; None: no prompt was logged
    message: Mapping[str, Any] | None = None  # Claude's answer, in the Messages shape
    headers: Mapping[str, str] = field(default_factory=dict)  # anthropic-*, lower-case names
    tenant: str = "default"  # whose answers may not be another's: organisation, team, customer
    key: str | None = None  # which API key, as the log names it; never the key itself
    purpose: str | None = None  # what it was for, as the log names it: a trace, a feature, a tag
    cost: Nanodollars | None = None  # what the log says it cost
    status: int = 200  # what was answered; not 200: nothing that could be kept
    hit: bool = False  # another cache answered: it was not billed
    stream: bool = False
    estimated: bool = False  # the log has no tokens: `usage` is made of characters
    source: str = ""  # where it stands: "spend.jsonl:1203"
