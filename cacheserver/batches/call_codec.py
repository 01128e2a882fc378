"""A planned call as it is stored until its batch has been answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from cacheserver.core import json_text
from cacheserver.core.types import Cap, PlannedCall, Route, Trim

T = TypeVar("T")


def encode(planned: PlannedCall) -> bytes:
    """Encode a call without its body and its prompt-cache plan.

    A batch takes up to a day: its outcome says nothing of how soon a prefix comes again.
    """
    parts = {"route": planned.route, "cap": planned.cap, "trim": planned.trim}
    return json_text.dumps({name: part and asdict(part) for name, part in parts.items()})


def decode(raw: bytes) -> PlannedCall:
    """Decode what this or another version of `encode` wrote; unknown fields are ignored."""
    parts = json_text.loads(raw)
    route = _object(Route, parts["route"])
    cap = _object(Cap, parts["cap"]) if parts.get("cap") else None
    trim = _object(Trim, parts["trim"]) if parts.get("trim") else None
    return PlannedCall(b"", route, cap=cap, trim=trim)


def _object(kind: type[T], given: Mapping[str, Any]) -> T:
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in given.items() if name in names})
