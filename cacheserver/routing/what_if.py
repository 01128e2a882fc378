"""Replay of a tenant's last calls to Claude under other routing rules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Final, Protocol

import numpy as np

from cacheserver.cache.ports import Pricer
from cacheserver.cache.store.decision_filters import Filters
from cacheserver.cache.store.decision_search import DecisionSearch
from cacheserver.cache.store.stored_vectors import StoredVectors
from cacheserver.core.money import nanodollars
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.tasks import canonical
from cacheserver.core.types import Tenant
from cacheserver.ledger.counterfactual import rescale_tokens
from cacheserver.routing import complexity, what_if_rules
from cacheserver.routing.complexity_weights import EMBEDDER, WITH_VECTOR, WITHOUT
from cacheserver.routing.task_inference import infer_task
from cacheserver.routing.trials import rules as trial_rules
from cacheserver.routing.trials.rules import Pair, PairRecord
from cacheserver.routing.what_if_rules import Barred, Move, PastCall, WhatIf

MOST: Final = 2_000  # calls of one replay: a second or two, most of it in a thread
_PAGE: Final = 200
_READ_S: Final = 2.0  # the longest that calls are looked for: of others, few may be misses
_PRICED: Final = 50  # calls priced before others get a turn: 2 ms


class TrialResults(Protocol):
    async def shown(self, tenant: str, pair: Pair) -> PairRecord:
        """Return the results of a pair. Raises `StoreError`."""


class RoutingWhatIf:
    """Replays calls. Every method raises `StoreError`."""

    def __init__(
        self,
        search: DecisionSearch,
        vectors: StoredVectors,
        *,
        pricer: Pricer,
        embedder_id: str,
        default_model: str,
        trials: TrialResults | None,
    ) -> None:
        """`trials` None: trials are off, and block no tier."""
        self._search = search
        self._vectors = vectors
        self._pricer = pricer
        self._embedder_id = embedder_id
        self._default_model = default_model
        self._trials = trials

    async def replay(self, tenant: Tenant, rules: RoutingRules, *, limit: int) -> WhatIf:
        """Replay the tenant's last calls of the day, at most `limit`, under `rules`.

        Fewer, if they are not found within two seconds.
        """
        calls = await self._calls(tenant.name, limit)
        before = tenant.routing, await self.barred(tenant.name, tenant.routing)
        after = rules, await self.barred(tenant.name, rules)
        moving, found = await asyncio.to_thread(
            what_if_rules.compare, calls, before, after, default_model=self._default_model
        )
        for at, (call, was, now) in enumerate(moving):
            if at % _PRICED == 0:
                await asyncio.sleep(0)
            there = rescale_tokens(call.usage, call.model, now.model)
            cost = what_if_rules.scaled(
                call.cost,
                self._pricer.cost(call.model, call.usage, call.at),
                self._pricer.cost(now.model, there, call.at),
            )
            what_if_rules.count(found, call, Move(call, was, now, cost))
        return found

    async def barred(self, tenant: str, rules: RoutingRules) -> Barred:
        """Return the tiers that trials block, with the reason, by task."""
        found: dict[str, Mapping[Any, str]] = {}
        for name in rules.tasks:
            gate = trial_rules.gates(name, rules)
            if gate is None or self._trials is None:
                continue
            tier, least = gate
            shown = await self._trials.shown(tenant, trial_rules.pair_of(name, tier, rules))
            standing = trial_rules.standing(shown, least)
            if standing != "proven":
                found[canonical(name)] = {tier: trial_rules.BARRED[standing]}
        return found

    async def _calls(self, tenant: str, limit: int) -> list[PastCall]:
        calls: list[PastCall] = []
        cursor: str | None = None
        ends = monotonic() + _READ_S
        while len(calls) < limit and monotonic() < ends:
            found = await self._search.newest(
                Filters(outcome="miss"), tenant=tenant, limit=_PAGE, cursor=cursor
            )
            records = [record for _, record in found.items]
            calls += await self._read(records)
            if (cursor := found.next) is None:
                break
        return calls[:limit]

    async def _read(self, records: Sequence[Mapping[str, Any]]) -> list[PastCall]:
        pairs = await asyncio.to_thread(_past_calls, records)
        rows = await self._vectors.of([fingerprint for _, fingerprint in pairs])
        known = self._embedder_id if self._embedder_id.startswith(EMBEDDER) else None
        stored = [None if row is None or known is None else row.vectors.get(known) for row in rows]
        calls = [call for call, _ in pairs]
        return await asyncio.to_thread(_with_readings, calls, stored)


def _past_calls(records: Sequence[Mapping[str, Any]]) -> list[tuple[PastCall, str]]:
    """Return the calls of records, each with its fingerprint."""
    return [
        (call, record["fingerprint"])
        for record in records
        if (call := what_if_rules.past_call(record, _cost(record))) is not None
    ]


def _with_readings(calls: Sequence[PastCall], stored: Sequence[bytes | None]) -> list[PastCall]:
    """Classify the questions; without a stored vector by their words, as the router does."""
    found = []
    for call, raw in zip(calls, stored, strict=True):
        if call.question is None:
            found.append(call)
            continue
        numbers = None
        if raw is not None:
            numbers = np.frombuffer(raw, dtype=np.float16).astype(np.float32).tolist()
        looks = infer_task({}, call.question)  # of the text, as the router's classifier has it
        reading = complexity.read(
            call.question, looks, numbers, with_vector=WITH_VECTOR, without=WITHOUT
        )
        found.append(replace(call, reading=reading))
    return found


def _cost(record: Mapping[str, Any]) -> int | None:
    amount = record.get("cost_usd")
    return None if amount is None else nanodollars(amount)
