"""Free names: of end users, of keys, of whoever changed a setting.

A name is held to one form: Unicode NFC, without spaces at its ends. A character that nobody sees
is refused, for two names that look the same must be the same name. Names that are parts of keys
(namespaces, tasks, tenants, tags, conversations) are ASCII by their own rules, and need none of
this. Bodies are not names: nothing here refuses or changes one. Pure.
"""

from __future__ import annotations

import unicodedata

from cacheserver.core.errors import BadRequest
from cacheserver.core.invisible_characters import UNSEEN


def visible(text: str) -> bool:
    """Return True if every character of a text is seen. The ASCII space is, other spaces are not.

    `str.isprintable` is False for controls, format characters (zero-width, bidirectional, tags),
    surrogates, private use, unassigned code points, and every space but the ASCII one.
    """
    return text.isprintable() and UNSEEN.isdisjoint(text)


def normal(text: str) -> str:
    """Return the one form of a name."""
    return unicodedata.normalize("NFC", text).strip()


def read(field: str, value: object, *, most: int, least: int = 1, ascii_only: bool = False) -> str:
    """Return a name in its one form. Raises `BadRequest` naming `field`, without the value."""
    if isinstance(value, str) and visible(value):
        name = normal(value)
        if least <= len(name) <= most and (name.isascii() or not ascii_only):
            return name
    kind = "printable ASCII" if ascii_only else "printable"
    length = f"{least} to {most}" if least else f"at most {most}"
    raise BadRequest(field, f"must be {length} {kind} characters")
