"""Fields that logs spell in many ways: models, times, keys, amounts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from cacheserver.core import json_text
from cacheserver.core.types import Nanodollars, Usage

_CLAUDE = re.compile(r"claude-[a-z0-9-]*[a-z0-9]")
_SPELT = str.maketrans("@ .", "---")  # claude-haiku-4-5@20251001, Claude Haiku 4.5
_BEDROCK_VERSION = re.compile(r"-v\d+$")  # us.anthropic.claude-sonnet-4-5-20250929-v1:0
_HASH = re.compile(r"[0-9a-f]{16,64}")
_NAME = re.compile(r"[A-Za-z0-9 ._@-]{1,64}")
_SECRET = re.compile(r"^(sk-|key-|Bearer )", re.IGNORECASE)


def model_of(name: object) -> str | None:
    """Return Anthropic's id of a Claude model from a gateway's spelling; None for other models."""
    if not isinstance(name, str):
        return None
    found = _CLAUDE.search(name.lower().translate(_SPELT))
    return None if found is None else _BEDROCK_VERSION.sub("", found[0])


def model_among(*names: object) -> str | None:
    """Return the first value that is a Claude model's id."""
    return next((found for name in names if (found := model_of(name)) is not None), None)


def time_of(value: object) -> float | None:
    """Return Unix seconds: from ISO 8601 (UTC if it has no zone) or a number of any unit."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                at = datetime.fromisoformat(str(value).strip())
            except ValueError:
                return None
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if not isinstance(value, int | float) or not 0 < value < 1e20:
        return None
    for unit in (1e9, 1e6, 1e3):  # nano-, micro-, milliseconds: seconds have ten digits until 2286
        if value >= 1e10 * unit / 10:
            return value / unit
    return float(value)


def time_among(record: Mapping[str, Any], *names: str) -> float | None:
    """Return the first value that is a time."""
    found = (time_of(record.get(name)) for name in names)
    return next((at for at in found if at is not None), None)


def key_of(value: object) -> str | None:
    """Return a key's name or hash; for a possible secret, eight digits of its hash."""
    if not isinstance(value, str) or not value:
        return None
    if _SECRET.match(value) or not (_HASH.fullmatch(value) or _NAME.fullmatch(value)):
        return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:8]
    return value


def nanodollars(value: object) -> Nanodollars | None:
    """Return nanodollars of US dollars given as a number or text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return int(amount * 1_000_000_000) if amount.is_finite() else None


def word(record: Mapping[str, Any], *names: str) -> str | None:
    """Return the first value that is a text and not empty."""
    for name in names:
        if isinstance(found := record.get(name), str) and found:
            return found
    return None


def part(record: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    """Return the first value that is an object."""
    for name in names:
        if isinstance(found := record.get(name), Mapping):
            return found
    return None


def count(value: object) -> int:
    """Return a number of tokens, also from text; 0 if it is not a number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        return 0
    return int(value)


def status_of(value: object) -> int:
    """Return an HTTP status; 0 if it is not one."""
    found = count(value)
    return found if 100 <= found < 600 else 0


def parsed(value: object) -> object:
    """Parse JSON that may be parsed already. None if the text is not JSON."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json_text.loads(value)
        except ValueError:
            return None
    return value


def mapped(value: object) -> Mapping[str, Any] | None:
    """Return an object, also from its JSON text."""
    value = parsed(value)
    return value if isinstance(value, Mapping) else None


def listed(value: object) -> Sequence[Any]:
    """Return a list, also from its JSON text; empty for anything else."""
    value = parsed(value)
    return value if isinstance(value, list) else []


def inclusive(prompt: int, *, read: int, written: int, output: int) -> Usage:
    """Return usage from a prompt count that includes cache reads and writes.

    Some logs count the uncached rest alone: there the cache's part may be more than the whole.
    """
    rest = prompt - read - written if prompt >= read + written else prompt
    return Usage(rest, output, cache_write_5m_tokens=written, cache_read_tokens=read)
