"""Pass of an erasure over every key, by the registry of kinds.

Rule: no step blocks the store for long (some hundreds of keys, or one value), and each is
idempotent: an interrupted pass is started again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.cache.store import decision_log
from cacheserver.calibration.review import review_store
from cacheserver.conversations import turns
from cacheserver.core.types import Tenant
from cacheserver.erasure import selectors
from cacheserver.erasure.cover import ErasureCover, digest
from cacheserver.erasure.jobs import ErasedJobs
from cacheserver.erasure.key_kinds import REGISTRY, Kind
from cacheserver.erasure.labels import ErasedLabels
from cacheserver.erasure.ledger_rows import ErasedRows, Names
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.made import made_by
from cacheserver.storage.connection import Connection, command, store_errors
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.key_scan import scan_keys
from cacheserver.storage.sealer import PlainSealer, Sealer, as_object

_IDS: Final = 500  # look-ups of one command
_VALUES: Final = 200  # read or written at once: some 300 kB, 2 ms
# What is begun before an erasure and written after it is of these kinds, or refused.
_AGAIN: Final = {
    *("decisions", "jobs", "summaries", "verdicts"),
    *("ledger_rows", "ledger_recorded", "ledger_outbox"),
}
# Of jobs that Claude answered after that.
_OF_JOBS: Final = _AGAIN - {"summaries", "verdicts"}
# Of a whole tenant, besides: digests that are written behind an answer. What was noted since goes
# with them, and is made anew.
_AGAIN_WHOLE: Final = _AGAIN | {
    *("families", "family_lists", "repeats", "prefixes", "prefix_lists", "labels"),
    *("prompt_versions", "version_lists", "version_namespaces"),
}
_LABEL_LISTS: Final = {"label_windows", "label_sizes"}
_Found: TypeAlias = list[tuple[bytes, Mapping[str, str]]]  # keys and their parts
_Step: TypeAlias = Callable[[_Found], Awaitable[None]]


class KeyWalk:
    """Pass over all keys. `removed` counts erased items by kind; `unknown` counts unlisted keys.

    `of_jobs`: only what jobs leave that were under way at the last repeated pass.
    `until`: conversations that began later stay, and labels that were given later (Unix s).
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        tenant: Tenant,
        erasure: Erasure,
        covered: ErasureCover,
        now: float,
        held: Callable[[], Awaitable[None]],
        of_jobs: bool = False,
        until: float = math.inf,
        sealer: Sealer | None = None,
    ) -> None:
        self.removed: Counter[str] = Counter()
        self.unknown = 0
        self._redis = redis
        self._prefix = prefix
        self._erasure = erasure
        self._settings = tenant
        self._tenant = erasure.tenant
        self._selector = erasure.selector
        self._covered = covered
        self._now = now
        self._held = held
        self._of_jobs = of_jobs
        self._until = until
        self._sealer = sealer or PlainSealer()
        self._labels = ErasedLabels(
            redis,
            prefix=prefix,
            tenant=erasure.tenant,
            selector=erasure.selector,
            covered=covered,
            until=until,
        )
        self._jobs = ErasedJobs(redis, prefix=prefix, sealer=self._sealer)
        self._rows = ErasedRows(redis)
        self.names = Names(erasure.tenant, erasure.selector, erasure.at, covered.decisions)
        self.steps: Mapping[str, _Step] = {
            "decisions": self._erase_decisions,
            "labels": self._erase_labels,
            "evidence": self._erase_evidence,
            "tombstones": self._erase_tombstones,
            "tombstone_lists": self._erase_tombstone_lists,
            "reviews": self._erase_reviews,
            "repeats": self._erase_repeats,
            "prompt_versions": self._erase_versions,
            "version_lists": self._erase_versions,
            "version_namespaces": self._erase_namespaces,
            "turns": self._erase_turns,
            "growth": self._erase_growth,
            "made": self._erase_made,
            "jobs": self._erase_jobs,
            "ledger_rows": self._erase_rows,
            "ledger_recorded": self._erase_rows,
            "ledger_outbox": self._erase_rows,
            "task_sums": self._erase_sums("task_sums"),
            "task_hour_sums": self._erase_sums("task_hour_sums"),
            "tag_sums": self._erase_sums("tag_sums"),
            "conversation_sums": self._erase_sums("conversation_sums"),
        }

    @property
    def under_way(self) -> int:
        """Return the number of covered jobs that have not ended, whose data is still needed."""
        return self._jobs.under_way

    async def collect(self) -> None:
        """Collect the covered decisions and the entries they stored."""
        start = f"{self._prefix}d:{tenant_key(self._tenant)}:"
        async for page in scan_keys(self._redis, start):
            ids = [key[len(start.encode()) :].decode() for key in page]
            for _, record in await self._decisions(list(zip(page, ids, strict=True))):
                if record is not None and self._covers_decision(record):
                    self._covered.decisions.add(record["id"])
                    self._covered.scopes.add(record["scope"])
                    if record["outcome"] == "miss" and record.get("entry_id"):
                        self._covered.entries.add(record["entry_id"])
                        self._covered.fingerprints.add(record["fingerprint"])

    async def run(self) -> None:
        """Walk all keys. Raises `StoreError`."""
        again = _AGAIN_WHOLE if self._selector.kind == "tenant" else _AGAIN
        if self._of_jobs:
            again = _OF_JOBS
        async for page in scan_keys(self._redis, self._prefix):
            found: dict[str, _Found] = {}
            listed: dict[str, Kind] = {}
            for key in page:
                name = key[len(self._prefix) :].decode(errors="replace")
                registered = REGISTRY.find(name)
                if registered is None:
                    self.unknown += 1
                    continue
                kind, parts = registered
                mine = parts.get("T", parts.get("tenant", self._tenant)) == self._tenant
                if mine and (not self._erasure.again or kind.name in again):
                    listed[kind.name] = kind
                    found.setdefault(kind.name, []).append((key, parts))
            for kind_name, keys_of in found.items():
                await self._step(listed[kind_name], keys_of)
            await self._held()

    async def _step(self, kind: Kind, found: _Found) -> None:
        whole = self._selector.kind == "tenant"
        if kind.name in _LABEL_LISTS and not math.isinf(self._until):
            return  # they are kept in step with the labels
        if kind.how == "always" or (kind.how == "tenant" and whole):
            await self._unlink(kind.name, [key for key, _ in found])
        elif kind.how == "record" and kind.name in self.steps:
            await self.steps[kind.name](found)

    async def _unlink(self, name: str, gone: Sequence[bytes]) -> None:
        if gone:
            self.removed[name] += await command(self._redis, "UNLINK", *gone)

    async def _values(
        self, kind: str, named: Sequence[tuple[bytes, str]]
    ) -> list[tuple[bytes, Any | None]]:
        """Return the values of existing keys; None for one that cannot be opened."""
        read: list[tuple[bytes, Any | None]] = []
        for start in range(0, len(named), _VALUES):
            some = named[start : start + _VALUES]
            values = await command(self._redis, "MGET", *(key for key, _ in some))
            await self._sealer.know(values)
            for (key, name), value in zip(some, values, strict=True):
                if value is not None:
                    read.append(
                        (key, self._sealer.read(kind, self._tenant, name, value, as_object))
                    )
        return read

    async def _decisions(
        self, named: Sequence[tuple[bytes, str]]
    ) -> list[tuple[bytes, Any | None]]:
        return await decision_log.read(self._redis, self._sealer, self._tenant, named)

    def _covers_decision(self, record: Mapping[str, Any]) -> bool:
        entries, at = self._covered.entries, self._erasure.at
        return selectors.covers_decision(self._selector, record, entries, at=at)

    async def _erase_decisions(self, found: _Found) -> None:
        """Delete covered decisions; in others remove quoted questions of erased entries."""
        gone, left = [], []
        for key, record in await self._decisions([(key, parts["id"]) for key, parts in found]):
            if record is None:  # unreadable: treated as covered
                gone.append(key)
                continue
            if self._covers_decision(record):
                gone.append(key)
                self._covered.decisions.add(record["id"])
            elif quoted := selectors.quoted(record):
                left.append((key, record, quoted))
        await self._unlink("decisions", gone)
        names = list(dict.fromkeys(id for _, _, ids in left for id in ids))
        out = set(names)
        for start in range(0, len(names), _IDS):
            some = names[start : start + _IDS]
            rows = await command(self._redis, "HMGET", f"{self._prefix}ids", *some)
            out -= {id for id, row in zip(some, rows, strict=True) if row is not None}
        await self._sealer.ready(self._tenant)
        quoting = [(key, record) for key, record, ids in left if out.intersection(ids)]
        for start in range(0, len(quoting), _VALUES):
            some_of = quoting[start : start + _VALUES]
            with store_errors():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for key, record in some_of:
                        bare = self._sealer.seal(
                            decision_log.KIND,
                            self._tenant,
                            record["id"],
                            orjson.dumps(selectors.unquoted(record, out)),
                        )
                        pipe.set(key, bare, xx=True, keepttl=True)
                    await pipe.execute()
            self.removed["quotes"] += len(some_of)

    async def _erase_labels(self, found: _Found) -> None:
        for key, parts in found:
            self.removed["labels"] += await self._labels.erase(key, parts["scope"])

    async def _erase_evidence(self, found: _Found) -> None:
        covered = self._covered.entries
        whole = self._selector.kind == "tenant"
        await self._unlink("evidence", [k for k, p in found if whole or p["entry"] in covered])

    async def _erase_tombstones(self, found: _Found) -> None:
        whole, covered = self._selector.kind == "tenant", self._covered
        gone = [
            key
            for key, parts in found
            if whole
            or parts["entry"] in covered.entries
            or parts["question"] in covered.fingerprints
        ]
        await self._unlink("tombstones", gone)

    async def _erase_tombstone_lists(self, found: _Found) -> None:
        """Delete the lists of covered entries; from others remove covered questions."""
        whole, covered = self._selector.kind == "tenant", self._covered
        gone = [key for key, parts in found if whole or parts["entry"] in covered.entries]
        await self._unlink("tombstone_lists", gone)
        for key, _ in found if covered.fingerprints and not whole else ():
            questions = await command(self._redis, "SMEMBERS", key)
            erased = [
                one for one in questions if one.decode().partition(":")[2] in covered.fingerprints
            ]
            if erased:
                await command(self._redis, "SREM", key, *erased)

    async def _erase_reviews(self, found: _Found) -> None:
        gone, ids = [], []
        for key, item in await self._values(review_store.KIND, [(key, "") for key, _ in found]):
            decided = (item or {}).get("decided") or {}
            if (
                item is None
                or item.get("entry_id") in self._covered.entries
                or item.get("decision_id") in self._covered.decisions
                or decided.get("caller") in self._covered.callers
                or self._selector.kind == "tenant"
                or any(self._selector.covers(**marks) for marks in item.get("marks", ()))
            ):
                gone.append(key)
                ids.append(key.rpartition(b":")[2])
        await self._unlink("reviews", gone)
        if ids:
            listed = f"{self._prefix}reviews:{tenant_key(self._tenant)}"
            await command(self._redis, "ZREM", listed, *ids)

    async def _erase_repeats(self, found: _Found) -> None:
        values = await command(self._redis, "MGET", *(key for key, _ in found))
        whole, covered = self._selector.kind == "tenant", self._covered.fingerprints
        gone = [
            key
            for (key, _), value in zip(found, values, strict=True)
            if value is not None and (whole or value.decode() in covered)
        ]
        await self._unlink("repeats", gone)

    async def _erase_versions(self, found: _Found) -> None:
        gone = [key for key, parts in found if self._selector.covers(namespace=parts["namespace"])]
        await self._unlink("prompt_versions", gone)

    async def _erase_namespaces(self, found: _Found) -> None:
        for key, _ in found:
            if self._selector.kind == "tenant":
                await self._unlink("version_namespaces", [key])
            elif self._selector.kind == "namespace":
                gone = await command(self._redis, "ZREM", key, *self._selector.values)
                self.removed["version_namespaces"] += gone

    async def _erase_turns(self, found: _Found) -> None:
        for key, parts in found:
            marks = await command(self._redis, "HKEYS", key + b":size")
            values = [mark[1:].decode() for mark in marks if mark.startswith(b"=")]
            namespace = parts["namespace"]
            mark = conversation_mark(namespace, parts["name"])
            tags = [one for one in values if not one.startswith("@")]
            actors = [one[1:] for one in values if one.startswith("@")]
            covered = not await self._began_since(key) and any(
                self._selector.covers(
                    namespace=namespace, tags=tags, actor=actor, conversation=mark
                )
                for actor in (None, *actors)
            )
            if covered or await self._holds_answer(
                key, turns.sealed_name(namespace, parts["name"])
            ):
                grown = f"{self._prefix}cvg:".encode() + key[len(self._prefix) + 4 :]
                await command(self._redis, "UNLINK", key + b":size", grown)
                await self._unlink("turns", [key])

    async def _began_since(self, key: bytes) -> bool:
        """Return whether a conversation, by the key of its turns, began after `until`."""
        if math.isinf(self._until):
            return False
        began = await command(self._redis, "HGET", key + b":size", "began")
        return turns.began_at(began) > self._until

    async def _holds_answer(self, key: bytes, name: str) -> bool:
        if not self._covered.answers:
            return False
        stored = await command(self._redis, "LRANGE", key, 0, -1)
        await self._sealer.know(stored)
        for sealed in stored:
            turn = self._sealer.read(turns.KIND, self._tenant, name, sealed, as_object)
            if turn is None or digest(turn.get("content")) in self._covered.answers:
                return True
        return False

    async def _erase_growth(self, found: _Found) -> None:
        of_turns = f"{self._prefix}cvt:".encode()
        gone = [
            key
            for key, parts in found
            if self._selector.covers(
                namespace=parts["namespace"],
                conversation=conversation_mark(parts["namespace"], parts["name"]),
            )
            and not await self._began_since(of_turns + key[len(of_turns) :])
        ]
        await self._unlink("growth", gone)

    async def _erase_made(self, found: _Found) -> None:
        if self._selector.kind == "tenant":
            keys = [key for key, _ in found]
            await self._unlink("made", await made_by(self._redis, self._tenant, keys))

    async def _erase_jobs(self, found: _Found) -> None:
        for _, parts in found:
            self.removed["jobs"] += await self._jobs.erase(
                parts["id"],
                self._settings,
                self._erasure,
                now=self._now,
                decisions=self._covered.decisions,
                entries=self._covered.entries,
            )

    async def _erase_rows(self, found: _Found) -> None:
        if not self.names.by_name and not self._covered.decisions:
            return
        for key, _ in found:
            self.removed["ledger_names"] += await self._rows.rows(key, self.names)

    def _erase_sums(self, kind: str) -> _Step:
        async def erase(found: _Found) -> None:
            for key, _ in found:
                self.removed["ledger_names"] += await self._rows.sums(key, kind, self.names)

        return erase
