"""Result of one check of health."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal["ok", "degraded", "failed"]


def check(name: str, status: Status, found: str, do: str, **facts: Any) -> dict[str, Any]:
    """Return a check as JSON; `do` is told unless all is well."""
    return {
        "name": name,
        "status": status,
        "found": found,
        "do": None if status == "ok" else do,
        "facts": facts,
    }
