"""Digests that whoever knows the code can make of a guessed request, as a store may spell them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import astuple
from hashlib import sha256

from cacheserver.cache.ask_key import ask_key
from cacheserver.conversations import trimming
from cacheserver.core import actors, json_text
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.types import Query
from cacheserver.promptcache import drift
from cacheserver.promptcache import layout as promptcache_layout
from cacheserver.promptcache.skeleton import skeleton, text_of, under
from cacheserver.routing import turns


def digests(query: Query) -> dict[str, str]:
    """Every digest that the cache makes of what a request says, as its tenant stores them."""
    found = {"fingerprint": query.fingerprint, "scope": query.scope, "ask": ask_key(query)}
    found["actor"] = query.actor or ""
    stands = turns.turns(query)
    found |= {f"turn-{at}": one for at, one in enumerate((stands.own, *stands.earlier))}
    found |= prefixes(query, query.model)
    prompt_skeleton = skeleton(text_of(query.body.get("system")))
    prompt_skeleton = under(prompt_skeleton, query.tenant)
    found["skeleton"] = prompt_skeleton.digest
    found |= {f"fragment-{at}": one.digest for at, one in enumerate(prompt_skeleton.fragments)}
    return {name: digest for name, digest in found.items() if digest}


def prefixes(query: Query, model: str) -> dict[str, str]:
    """Those of a prompt, as Claude's prompt cache of `model` sees it."""
    layout = promptcache_layout.lay_out(query.body, model, query.headers)
    layout = promptcache_layout.under(layout, query.tenant)
    return {"root": layout.root, **{f"prefix-{one.path}": one.prefix for one in layout.spots}}


def guesses(query: Query, stored: Query) -> dict[str, str]:
    """All of `digests` of a query whose tenant's are plain, and those of parts of it.

    `stored` is the same query as its tenant stores it: whoever reads the store sees its digests,
    and tries a text beside them.
    """
    found = digests(query)
    rest = keyed(stored.tenant, drift.rest_of(stored.body))
    beside = [digests(stored)["skeleton"], rest, query.controls.namespace, query.text]
    found["request"] = sha256(json_text.dumps(beside)).hexdigest()[:32]
    copied = f"carried-over:{stored.scope}:{query.text}"
    found["copy"] = sha256(copied.encode()).hexdigest()
    texts = [query.text or "", *(str(one.get("content")) for one in query.body["messages"])]
    for at, text in enumerate(texts):
        for name, said in (("said", text), ("small", text.lower().strip())):
            found[f"{name}-{at}"] = sha256(said.encode()).hexdigest()
    messages = query.body["messages"]
    for end in range(1, len(messages)):
        found[f"turns-{end}"] = trimming.digest(messages[:end])
    found["rest"] = drift.rest_of(query.body)
    found["name"] = actors.user_digest(query.body) or ""
    for model in astuple(query.tenant.routing.tiers):
        found |= {f"{name}-{model}": one for name, one in prefixes(query, model).items()}
    return {name: digest for name, digest in found.items() if digest}


def spelt(digest: str) -> Iterator[bytes]:
    """A digest as it may stand in a store: in hex, cut as ours are, raw, in base64."""
    raw = bytes.fromhex(digest)
    yield digest.encode()
    if len(digest) == 64:
        yield from (digest[:length].encode() for length in (16, 24, 32, 40))
    if len(raw) >= 8:  # of fewer bytes one may come by chance
        yield from (raw, base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw))


def known(query: Query, stored: Query, haystack: bytes) -> set[str]:
    """The names of the guesses that are in there."""
    return {
        name
        for name, digest in guesses(query, stored).items()
        if any(one in haystack for one in spelt(digest))
    }
