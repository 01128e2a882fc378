"""Entries for the stores' tests."""

from __future__ import annotations

import itertools
import time
from typing import Any

from cacheserver.core.types import Entry, Usage

_ids = itertools.count(1)
HALF = b"\x00\x3c" * 384  # an fp16 vector


def entry(fingerprint: str = "f1", **changes: Any) -> Entry:
    """Return an entry that lives for an hour, with an id of its own."""
    now = float(int(time.time()))  # of one length as text, so equal entries have equal sizes
    values: dict[str, Any] = {
        "id": f"{next(_ids):032x}",
        "tenant": "acme",
        "namespace": "default",
        "fingerprint": fingerprint,
        "scope": "scope",
        "text": "What is the capital of France?",
        "model": "claude-haiku-5-5",
        "message": b'{"type":"message","content":[{"type":"text","text":"Paris"}]}',
        "usage": Usage(10, 20),
        "cost": 1_000,
        "tags": (),
        "created_at": now,
        "expires_at": now + 3_600,
    }
    return Entry(**(values | changes))
