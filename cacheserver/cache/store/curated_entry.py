"""Answers that people wrote: curated by an operator in the place of a stored one, or put by an
application as its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from cacheserver.cache.conversation_mark import mark_of
from cacheserver.cache.store.stored_entry import new_id
from cacheserver.core import json_text
from cacheserver.core.types import Entry, Query, Usage

OWN_MODEL: Final = "own"  # named as the model of an own answer: no model of Claude's wrote it


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
        id=new_id(now),
        # Other fields of the old message are null, as Claude's are that say nothing.
        message=json_text.dumps({**dict.fromkeys(before), **message}),
        cost=0,
        created_at=now,
        expires_at=now + ttl_s,
        made_up=True,
        curated_by=author,
    )


def own(query: Query, text: str, *, by: str, now: float, ttl_s: float) -> Entry:
    """Return the entry that answers `query` with `text`, in the shape of Claude's messages.

    `by` is the id of the key, or the name of the admin, that put it. It cost nothing, and nothing
    is learned from it (`made_up`): Claude would have answered otherwise.
    """
    message = {
        "type": "message",
        "role": "assistant",
        "model": OWN_MODEL,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    return Entry(
        id=new_id(now),
        tenant=query.tenant.name,
        namespace=query.controls.namespace,
        fingerprint=query.fingerprint,
        scope=query.scope,
        text=query.text,
        model=OWN_MODEL,
        message=json_text.dumps(message),
        usage=Usage(),
        cost=0,
        tags=query.controls.tags,
        created_at=now,
        expires_at=now + ttl_s,
        actor=query.actor,
        made_up=True,
        conversation=mark_of(query),
        put_by=by,
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
