"""Results of checks, and the one to begin with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "skipped", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    name: str
    status: Status
    found: str
    do: str | None = None  # what to do; None where nothing is


def ok(name: str, found: str) -> Check:
    return Check(name, "ok", found)


def skipped(name: str, why: str) -> Check:
    return Check(name, "skipped", why)


def warning(name: str, found: str, do: str) -> Check:
    return Check(name, "warning", found, do)


def failed(name: str, found: str, do: str) -> Check:
    return Check(name, "failed", found, do)


def first_to_fix(checks: Sequence[Check]) -> Check | None:
    """Return the first fault, else the first warning. Checks come in the order of their needs."""
    for status in ("failed", "warning"):
        for one in checks:
            if one.status == status:
                return one
    return None
