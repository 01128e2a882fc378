"""JSON that comes out as it went in. Rule: what a caller or Claude wrote is read with `loads`.

orjson reads integers beyond 64 bits as floats, and refuses to write them and lone surrogates.
A tool's arguments may hold either, so it is used for writing only, and only where it can.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(raw: bytes | str) -> Any:
    """Parse JSON text. Raises `ValueError`, also for what is nested too deeply to be read."""
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Write JSON text, compact. The same value always comes out as the same bytes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        return json.dumps(value, sort_keys=sort_keys, separators=(",", ":")).encode()
