"""Finds the conversation that a request continues, and what a change of model would cost it.

Each turn's hash covers the hash of all before it, starting with the tenant, the tools and the
system prompt. A request stores the hash of its whole body; the next one begins with the same turns
and so computes that hash too. So no name has to be agreed on, and only a caller who has all the
words of a conversation can know its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cacheserver.cache.fingerprint import shaping
from cacheserver.core import json_text, thinking
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.types import Query, Usage

# How far back a request looks for what it goes on with: the last turn but one, mostly; further
# where a caller took turns back. Each is a key of one MGET.
LOOKED_BACK: Final = 32

_HOUR_S: Final = 3_600
_SHORT_S: Final = 300


@dataclass(frozen=True, slots=True)
class Turns:
    """Position of a request in its conversation, as hex digests."""

    own: str  # what the next request will be recognised by
    earlier: tuple[str, ...]  # what this one may be, the nearest first; empty: it begins one


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """Record of a conversation's last answer."""

    model: str
    cached_until: float = 0.0  # Unix seconds: until then Claude holds a prompt cache of it


def turns(query: Query) -> Turns:
    """Return a request's position. Digests differ by tenant and conversation name."""
    if query.conversation is not None:
        # The caller's own name holds even where the turns themselves are not sent, or were cut.
        named = _digest(b"named", _start(query), query.conversation.encode())
        named = keyed(query.tenant, named)
        return Turns(named, (named,))
    shape = shaping(query.body)
    messages = shape["messages"]
    before = {name: shape.get(name) for name in ("system", "tools")}
    link = _digest(b"start", _start(query), json_text.dumps(before, sort_keys=True))
    passed = []
    for message in messages:
        link = _digest(b"turn", link.encode(), json_text.dumps(message, sort_keys=True))
        passed.append(link)
    # A request's last turn is the user's; one that put words in Claude's mouth asks no more.
    earlier = [
        link
        for link, message in zip(passed[:-1], messages, strict=False)
        if message.get("role") == "user"
    ]
    digests = [keyed(query.tenant, one) for one in reversed(earlier[-LOOKED_BACK:])]
    return Turns(keyed(query.tenant, link), tuple(digests))


def last_answer(model: str, usage: Usage, now: float) -> LastAnswer:
    """Return the record to store for an answer of `model`."""
    if usage.cache_write_1h_tokens or usage.cache_read_tokens:
        return LastAnswer(
            model, now + _HOUR_S
        )  # a read may be of either kind: the longer is doubt's
    return LastAnswer(model, now + _SHORT_S if usage.cache_write_5m_tokens else 0.0)


def would_lose(body: Mapping[str, Any], last: LastAnswer, now: float) -> bool:
    """Return whether another model would cost this conversation a prompt cache or its thinking.

    Thinking blocks are bound to the model that wrote them: another one drops or refuses them.
    """
    return now < last.cached_until or thinks(body.get("messages") or ())


def thinks(messages: Sequence[Any]) -> bool:
    """Return whether one of the messages has thinking blocks."""
    return any(
        isinstance(block, Mapping) and block.get("type") in thinking.BLOCK_TYPES
        for message in messages
        if isinstance(content := message.get("content"), list)
        for block in content
    )


def _start(query: Query) -> bytes:
    parts = (query.tenant.name, query.controls.namespace, query.credential or "")
    return json_text.dumps(list(parts))


def _digest(kind: bytes, before: bytes, more: bytes) -> str:
    # The kind and the length in front: no turn can be spelt so that it reads as another place.
    return hashlib.sha256(b"%s:%d:%s:%s" % (kind, len(before), before, more)).hexdigest()
