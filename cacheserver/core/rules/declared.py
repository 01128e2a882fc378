"""Rules for declared questions: requests that name what they ask, and what that replaces."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.core.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class DeclaredRules:
    """Rules of declared questions. A wrong declaration gives a wrong answer, so they are opt-in."""

    __pydantic_config__ = STRICT

    enabled: bool = False
    require_context: bool = False  # a question without a key for what its answer rests on: 400
    # Equal declared requests under way share one call though their prompts differ. Off: each asks,
    # so no caller gets the error, or an answer too odd to be stored, of another's prompt.
    share_calls: bool = False
