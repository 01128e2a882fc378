"""Digest of a conversation's name: names are a caller's own words. Pure."""

from __future__ import annotations

import hashlib

from cacheserver.core.types import Query


def conversation_mark(namespace: str, name: str) -> str:
    """Return the digest that stands for a conversation."""
    whole = f"{len(namespace)}:{namespace}:{name}".encode()
    return hashlib.sha256(whole).hexdigest()[:32]


def mark_of(query: Query) -> str | None:
    """Return the mark of a query's conversation, if it has one."""
    if query.conversation is None:
        return None
    return conversation_mark(query.controls.namespace, query.conversation)
