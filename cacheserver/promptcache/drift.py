"""Watches the system prompts sent to Claude, and copies answers to a new prompt version.

No request waits for it: requests are recorded after they are answered, many of them together.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from cacheserver.cache import fingerprint
from cacheserver.cache.store import stored_entry
from cacheserver.cache.store.stored_entry import new_id
from cacheserver.cache.ttl import lifetime
from cacheserver.core import json_text
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import BadRequest, NotFound
from cacheserver.core.keyed_digests import NO_CONTENT, keyed
from cacheserver.core.messages.attribution import attribution, prompt_of
from cacheserver.core.types import Entry, Query, Tenant, Usage
from cacheserver.pricing.estimate import chars_per_token
from cacheserver.promptcache.drift_costs import Version, drifts, pairs, report, seen
from cacheserver.promptcache.multipliers import Cost, rates
from cacheserver.promptcache.prompt_log import PromptLog, VersionUse
from cacheserver.promptcache.skeleton import Skeleton, reordered, skeleton, text_of, under

_REMEMBERED = 512  # skeletons of system prompts, by hash
_SHOWN = 20  # questions of a dry run
_MOST_CARRIED = 10_000  # entries at once; each is embedded, 2 to 3 ms
_PURGES_REMEMBERED_S = 86_400  # stores.entries remembers them for two days


class Stored(Protocol):
    """Entries as stored in Redis."""

    async def grouped(
        self, refs: Sequence[tuple[str, str]]
    ) -> Sequence[stored_entry.Stored | None]: ...


class Answers(Protocol):
    """Entries with the index: those put here are found by similarity."""

    async def put(self, entry: Entry, *, keep_s: int, asked_at: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """A request that Claude answered."""

    query: Query
    system: str
    model: str
    usage: Usage
    now: float


class PromptWatch:
    """Records fragments and versions of system prompts."""

    def __init__(self, *, log: PromptLog, writes: BackgroundWork, cost: Cost) -> None:
        self._log = log
        self._writes = writes
        self._cost = cost
        self._skeletons: OrderedDict[str, Skeleton] = OrderedDict()

    def learn(self, query: Query, model: str, usage: Usage, now: float) -> None:
        """Record a request that Claude answered. Never blocks."""
        system = text_of(prompt_of(query.body))
        if system:
            self._writes.gather(self._note, _Seen(query, system, model, usage, now))

    def forget(self) -> None:
        """Drop the fragments of system prompts that are kept to be found faster."""
        self._skeletons.clear()

    async def fragments(self, tenant: str, now: float) -> list[dict[str, Any]]:
        """Return the cost of fragments to a tenant, dearest first. Raises `StoreError`."""
        found = [
            shown
            for family in await self._log.families(tenant)
            if (shown := report(family, rates(self._cost, family.model, now))) is not None
        ]
        found.sort(key=lambda one: -sum(one["lost_per_day"].values()))
        return found

    async def _note(self, requests: Sequence[_Seen]) -> None:
        """Record requests: each version and each family once."""
        versions: dict[tuple[str, str, str], VersionUse] = {}
        families: dict[tuple[str, str], list[tuple[_Seen, Skeleton, int | None]]] = {}
        repeats: list[tuple[str, str, str, int]] = []
        for one in requests:
            await asyncio.sleep(0)  # digests of a long body take milliseconds
            query, tenant = one.query, one.query.tenant.name
            found = under(self._skeleton(one.system), query.tenant)
            rest = keyed(query.tenant, rest_of(query.body))
            # What a declared question replaces is no part of its scope: two that differ only in the
            # system prompt cannot be told from `rest`, and no answer is carried from one to
            # another.
            declared = query.controls.declared is not None
            scope = (rest, query.scope) if query.scope and not declared else None
            place = (tenant, query.controls.namespace, found.digest)
            use = versions.setdefault(place, VersionUse(one.now, one.now))
            use.add(one.now, chars=len(one.system), scope=scope)
            if not found.fragments:
                continue
            repeat = None
            life_s = lifetime(query.controls, query.tenant, query.model)
            if query.bypass is None and not declared and life_s > 0:
                repeat = len(repeats)
                request = keyed(query.tenant, _without_fragments(query, found, rest))
                repeats.append((tenant, request, query.fingerprint, life_s))
            families.setdefault((tenant, found.digest), []).append((one, found, repeat))
        for place, use in versions.items():
            await self._log.note_version(*place, use)
        repeated = await self._log.repeated(repeats)
        for (tenant, digest), sightings in families.items():
            family = await self._log.family(tenant, digest)
            for one, found, repeat in sightings:
                lost = None
                if repeat is not None and repeated[repeat]:
                    lost = self._cost(one.model, one.usage, one.now) or 0
                tokens = round(len(one.system) / chars_per_token(one.model))
                family = seen(family, found, model=one.model, tokens=tokens, now=one.now, lost=lost)
            await self._log.keep_family(tenant, family)

    def _skeleton(self, system: str) -> Skeleton:
        key = hashlib.sha256(system.encode("utf-8", "surrogatepass")).hexdigest()
        found = self._skeletons.pop(key, None) or skeleton(system)
        self._skeletons[key] = found
        if len(self._skeletons) > _REMEMBERED:
            self._skeletons.popitem(last=False)
        return found


class Versions:
    """Versions of system prompts, and the entries stored under them."""

    def __init__(
        self, *, log: PromptLog, stored: Stored, answers: Answers, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._stored = stored
        self._answers = answers
        self._clock = clock

    async def show(self, tenant: str) -> list[dict[str, Any]]:
        """Return every namespace's versions and changes, with the number of entries under each."""
        shown = []
        for namespace in await self._log.namespaces(tenant):
            versions = await self._log.versions(tenant, namespace)
            entries = await self._counted(tenant, namespace, versions)
            shown.append(
                {
                    "namespace": namespace,
                    "versions": [
                        {
                            **{k: v for k, v in asdict(one).items() if k != "scopes"},
                            "scopes": len(one.scopes),
                            "entries": sum(entries.get(s, 0) for s in one.scopes.values()),
                        }
                        for one in versions
                    ],
                    "changes": [
                        {
                            "from": one.old,
                            "to": one.new,
                            "at": one.at,
                            "entries_left_behind": sum(
                                entries.get(old, 0) for old, _ in one.scopes
                            ),
                        }
                        for one in drifts(versions)
                    ],
                }
            )
        return shown

    async def carry_over(
        self,
        tenant: Tenant,
        namespace: str,
        old: str,
        new: str,
        *,
        dry_run: bool,
        only: Container[str] | None = None,
    ) -> dict[str, Any]:
        """Copy the entries of one version to another: those in `only`, or all of them.

        A copy is found by similarity (its own question: cosine 1), never by fingerprint, dies when
        the original does, and is purged with it by tag or namespace. Raises `NotFound` for a
        version that was not seen, `BadRequest` where the two share no kind of request.
        """
        name, withheld = tenant.name, tenant.no_content
        versions = {one.digest: one for one in await self._log.versions(name, namespace)}
        for digest in (old, new):
            if digest not in versions:
                raise NotFound(f"no version {digest[:64]} was seen in that namespace")
        scopes = dict(pairs(versions[old], versions[new]))
        if not scopes:
            raise BadRequest("to", "was never asked with the model and settings of `from`")
        now, found, carried = self._clock(), 0, 0
        questions: list[dict[str, Any]] = []
        async for entry in self._entries(name, namespace):
            wanted = only is None or entry.id in only
            if entry.scope not in scopes or entry.text is None or entry.expires_at <= now:
                continue
            if not wanted:
                continue
            found += 1
            if len(questions) < _SHOWN:
                question = None if withheld else entry.text
                questions.append({"entry": entry.id, "question": question})
            if not dry_run and carried < _MOST_CARRIED:
                copy = _copy(tenant, entry, scopes[entry.scope], now)
                # As old as the original, as far as purges are remembered: one of before has taken
                # the original itself.
                asked_at = max(entry.created_at, now - _PURGES_REMEMBERED_S)
                saved = await self._answers.put(copy, keep_s=0, asked_at=asked_at)
                carried += saved
        shown = {"dry_run": dry_run, "found": found, "carried": carried, "questions": questions}
        return {**shown, "withheld": NO_CONTENT} if withheld else shown

    async def _counted(
        self, tenant: str, namespace: str, versions: Sequence[Version]
    ) -> Mapping[str, int]:
        counts: dict[str, int] = {s: 0 for one in versions for s in one.scopes.values()}
        now = self._clock()
        async for entry in self._entries(tenant, namespace):
            if entry.scope in counts and entry.expires_at > now:
                counts[entry.scope] += 1
        return counts

    async def _entries(self, tenant: str, namespace: str) -> AsyncIterator[Entry]:
        async for refs in self._log.refs(tenant, namespace):
            for found in await self._stored.grouped(refs):
                if found is not None and found.entry.tenant == tenant:
                    yield found.entry


def reorder(query: Query, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body with the changing parts of its system prompt moved behind the constant ones.

    Claude Code's prompt is never changed: Anthropic checks its first block literally.
    """
    system = body.get("system")
    if attribution(system) or any(name.startswith("x-claude-code-") for name in query.headers):
        return body
    moved = reordered(system)
    return body if moved is None else {**body, "system": moved}


def _copy(tenant: Tenant, entry: Entry, scope: str, now: float) -> Entry:
    mark = hashlib.sha256(f"carried-over:{scope}:".encode())
    mark.update((entry.text or "").encode("utf-8", "surrogatepass"))
    return replace(
        entry,
        id=new_id(now),
        fingerprint=keyed(tenant, mark.hexdigest()),
        scope=scope,
    )


def _without_fragments(query: Query, found: Skeleton, rest: str) -> str:
    """Hash a request without the fragments of its system prompt."""
    if query.text is None:
        return _digest([found.digest, query.body["messages"]])
    return _digest([found.digest, rest, query.controls.namespace, query.text])


def rest_of(body: Mapping[str, Any]) -> str:
    """Hash a request without its system prompt and its question."""
    shape = fingerprint.shaping(body)
    shape.pop("system", None)
    *earlier, last = shape["messages"]
    shape["messages"] = [*earlier, {**last, "content": last["content"][:-1]}]
    return _digest(shape)


def _digest(value: Any) -> str:
    return hashlib.sha256(json_text.dumps(value, sort_keys=True)).hexdigest()[:32]
