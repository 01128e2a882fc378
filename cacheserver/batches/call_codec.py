"""A planned call, and its verification, as they are stored until its batch has been answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from cacheserver.core import json_text
from cacheserver.core.types import Cap, PlannedCall, Route, Trim
from cacheserver.matching.verification_outcome import Verified

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


def verified_field(hold: str) -> str:
    """Return the field of an ask that holds what came of asking a model about one of its items."""
    return f"verified:{hold}"


def encode_verified(found: Verified) -> bytes:
    """Encode what came of asking a model about an item, before its call. It has no text."""
    return json_text.dumps(asdict(found))


def decode_verified(hold: str, ask: Mapping[str, bytes]) -> Verified | None:
    """Decode what came of it for this item, from the fields of its ask; None if nothing was asked.

    An ask of an earlier version has one field, for the item that it was made of.
    """
    found: Verified | None = None
    if (raw := ask.get(verified_field(hold))) is not None:
        found = _object(Verified, json_text.loads(raw))
    elif (raw := ask.get("verified")) is not None:
        stored = json_text.loads(raw)
        found = _object(Verified, stored["found"]) if stored["item"] == hold else None
    return found


def _object(kind: type[T], given: Mapping[str, Any]) -> T:
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in given.items() if name in names})
