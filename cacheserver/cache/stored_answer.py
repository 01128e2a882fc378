"""Stored answers: found, and served in one place to live requests, batch items and jobs alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from cacheserver.cache.absent import NoLease, NoOutcomes
from cacheserver.cache.answer import Settlement
from cacheserver.cache.cacheability import has_content
from cacheserver.cache.ports import Entries, Learner, Lease, Outcomes, Pricer
from cacheserver.core import json_text, thinking
from cacheserver.core.types import Entry, Hit, Near, Query


@dataclass(frozen=True, slots=True)
class Served:
    """The message of a hit, without an id, and the settlement of the request that gets it."""

    message: bytes
    settlement: Settlement


class StoredAnswers:
    """Finds stored answers and serves them.

    Never found is an entry without any content, or one that says that it is of another tenant or
    namespace than the query: an edited export may carry any digest.
    """

    def __init__(
        self,
        *,
        entries: Entries,
        pricer: Pricer,
        learner: Learner,
        chance: Callable[[], float],
        outcomes: Outcomes | None = None,
        lease: Lease | None = None,
    ) -> None:
        """`lease`: under which this server may serve what is stored; None: always."""
        self._lease = lease or NoLease()
        self._outcomes = outcomes or NoOutcomes()
        self._entries = entries
        self._pricer = pricer
        self._learner = learner
        self._chance = chance

    async def find(self, query: Query) -> Entry | None:
        """The entry under the query's fingerprint, expired or not. Raises `StoreError`."""
        term = self._lease.term
        entry = await self._entries.get(query.fingerprint)
        await self._lease.vouch(term)
        return entry if entry is not None and _serves(query, entry) else None

    def expects(self, query: Query) -> bool:
        """Return whether to `find` first: otherwise `find_near` finds the exact entry as well."""
        return self._entries.expects(query)

    async def find_near(self, query: Query, top_k: int, *, exact: bool = False) -> Near:
        """Live entries of the query's scope by similarity, with their outcomes.

        `exact`: what `find` returns as well. Raises `StoreError`.
        """
        term, tenant, asked = self._lease.term, query.tenant.name, query.fingerprint
        near = await self._entries.near(
            query, top_k, exact=exact, beside=partial(self._outcomes.keys, tenant, asked)
        )
        await self._lease.vouch(term)
        answers = tuple(one for one in near.candidates if _serves(query, one.entry))
        if near.exact is not None and not _serves(query, near.exact):
            return replace(near, candidates=answers, exact=None)
        return near if len(answers) == len(near.candidates) else replace(near, candidates=answers)

    async def holds(self, entry: Entry) -> bool:
        """Return whether an entry is neither purged nor replaced. Raises `StoreError`."""
        term = self._lease.term
        found = await self._entries.get(entry.fingerprint)
        await self._lease.vouch(term)
        return found is not None and found.id == entry.id

    def serve_stored(self, query: Query, hit: Hit, entry: Entry, *, now: float) -> Served:
        """Return an entry's message and settlement. Note the hit; audit a share of hits.

        Thinking blocks go to the same prompt only, and citations to the same documents.
        """
        message, declared = entry.message, query.controls.declared is not None
        if hit.kind == "semantic" or declared:
            message = for_similar(message, declared=declared)
        # What an application's own answer would have cost is not known: it saves nothing.
        own = entry.put_by is not None
        saved = 0 if own else self._pricer.cost(entry.model, entry.usage, now)
        self._entries.touch(entry, saved or 0)
        self._audit(query, hit)
        settlement = Settlement(
            hit,
            model=entry.model,
            usage=entry.usage,
            cost=0,
            saved=saved,
        )
        return Served(message, settlement)

    def _audit(self, query: Query, hit: Hit) -> None:
        if hit.candidate is None or query.credential is not None:  # never on the caller's own key
            return
        if query.controls.only and "verify" in query.controls.off:
            return  # the caller forbids every call to Claude
        if hit.audit_share > 0 and self._chance() < hit.audit_share:
            verified = hit.reason == "verified"
            self._learner.audit(query, hit.candidate, hit.audit_share, verified=verified)


def _serves(query: Query, entry: Entry) -> bool:
    """Return whether an entry found by a digest is the query's tenant's, and says something.

    Tenant and namespace are part of the digests, so they differ only where the digest is forged.
    """
    return (
        entry.tenant == query.tenant.name
        and entry.namespace == query.controls.namespace
        and has_content(entry.message)
    )


def for_similar(message: bytes, *, declared: bool = False) -> bytes:
    """A message as it is served to another prompt: without thinking blocks.

    `declared`: the prompts may have other documents, so citations are left out, too.
    """
    cited = declared and b'"citations"' in message
    if b'thinking"' not in message and not cited:
        return message
    found = json_text.loads(message)
    content = thinking.strip(found["content"])
    if cited:
        content = [
            {name: block[name] for name in block if name != "citations"} for block in content
        ]
    return json_text.dumps({**found, "content": content})
