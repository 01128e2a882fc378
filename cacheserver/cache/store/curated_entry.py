"""Curated answers: written by an operator in the place of a stored one."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from cacheserver.core import json_text
from cacheserver.core.types import Entry


def curated(entry: Entry, text: str, *, author: str, now: float, ttl_s: float) -> Entry:
    """Return a new version of an entry that answers with `text`.

    It answers the same question, in the shape of Claude's message, and is erased and purged with
    the same tags. It cost nothing. `usage` stays that of the replaced answer: it is what a hit
    saves. Nothing is learned from it (`made_up`): Claude would have answered otherwise.
    """
    before = json_text.loads(entry.message)
    message = {
        "type": "message",
        "role": "assistant",
        "model": before.get("model", entry.model),
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": before.get("usage"),
    }
    return replace(
        entry,
        id=f"{int(now * 1000):012x}{secrets.token_hex(10)}",
        # Other fields of the old message are null, as Claude's are that say nothing.
        message=json_text.dumps({**dict.fromkeys(before), **message}),
        cost=0,
        created_at=now,
        expires_at=now + ttl_s,
        made_up=True,
        curated_by=author,
    )


def other_shape(entry: Entry, text: str) -> str | None:
    """Return what keeps a program that reads JSON in an entry's answer from reading `text`; None
    if nothing does, or the answer is no JSON.
    """
    blocks = json_text.loads(entry.message).get("content") or ()
    before = _structure("".join(block.get("text", "") for block in blocks))
    if before is None:
        return None
    after = _structure(text)
    if after is None or type(after) is not type(before):
        kind = "object" if isinstance(before, dict) else "array"
        return f"must be a JSON {kind}, as the answer is that it replaces"
    gone = [name for name in before if name not in after] if isinstance(before, dict) else []
    if gone:
        return f"must have the field `{gone[0][:64]}`, as the answer has that it replaces"
    return None


def _structure(text: str) -> dict[str, Any] | list[Any] | None:
    try:
        found = json_text.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None
