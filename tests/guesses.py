"""Digests that whoever knows the code can make of a guessed request, in the spellings of a store."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import sha256

from cacheserver.asking import drift
from cacheserver.policy import fragments, history, promptcache_layout, routing_turns, same_ask
from cacheserver.types import Query


def digests(query: Query) -> dict[str, str]:
    """Every digest that the cache makes of what a request says, as its tenant stores them."""
    found = {"fingerprint": query.fingerprint, "scope": query.scope, "ask": same_ask.key(query)}
    found["actor"] = query.actor or ""
    stands = routing_turns.turns(query)
    found |= {f"turn-{at}": one for at, one in enumerate((stands.own, *stands.earlier))}
    layout = promptcache_layout.lay_out(query.body, query.model, {})
    layout = promptcache_layout.under(layout, query.tenant)
    found["root"] = layout.root
    found |= {f"prefix-{spot.path}": spot.prefix for spot in layout.spots}
    skeleton = fragments.skeleton(fragments.text_of(query.body.get("system")))
    skeleton = fragments.under(skeleton, query.tenant)
    found["skeleton"] = skeleton.digest
    found |= {f"fragment-{at}": one.digest for at, one in enumerate(skeleton.fragments)}
    return {name: digest for name, digest in found.items() if digest}


def guesses(query: Query) -> dict[str, str]:
    """All of `digests`, of a tenant whose digests are plain, and those of parts of it."""
    found = digests(query)
    texts = [query.text or "", *(str(one.get("content")) for one in query.body["messages"])]
    for at, text in enumerate(texts):
        for name, said in (("said", text), ("small", text.lower().strip())):
            found[f"{name}-{at}"] = sha256(said.encode()).hexdigest()
    messages = query.body["messages"]
    for end in range(1, len(messages)):
        found[f"turns-{end}"] = history.digest(messages[:end])
    found["rest"] = drift.rest_of(query.body)
    return found


def spelt(digest: str) -> Iterator[bytes]:
    """A digest as it may stand in a store: in hex, cut as ours are, raw, in base64."""
    raw = bytes.fromhex(digest)
    yield digest.encode()
    if len(digest) == 64:
        yield from (digest[:length].encode() for length in (16, 24, 32, 40))
    if len(raw) >= 8:  # of fewer bytes one may come by chance
        yield from (raw, base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw))


def known(query: Query, haystack: bytes) -> set[str]:
    """The names of the guesses that are in there."""
    return {
        name
        for name, digest in guesses(query).items()
        if any(one in haystack for one in spelt(digest))
    }
