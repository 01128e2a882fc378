"""Changes in the stream that the servers follow, and who is given them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Apply: TypeAlias = Callable[[Sequence[str]], Awaitable[object]]
Anew: TypeAlias = Callable[[], Awaitable[object]]
Change: TypeAlias = tuple[str, str, str, str]  # id, kind, body, name of the server that made it


@dataclass(frozen=True, slots=True)
class Listener:
    """Reader of one kind of change, given bodies in their order.

    `anew` is called where changes may have been missed.
    """

    apply: Apply
    anew: Anew  # changes may be in force elsewhere that are not here
    missed: Anew  # changes will never come
    waited: bool  # somebody waits until it is applied


def read_change(id: bytes, fields: Sequence[bytes]) -> Change:
    """Decode a change from its fields in the stream."""
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    kind, body, origin = (found.get(name, b"").decode() for name in (b"k", b"b", b"o"))
    return id.decode(), kind, body, origin
