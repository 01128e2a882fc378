"""Calibration states in memory: read from Redis periodically, written after each refit.

The labels in Redis are the truth; any server may fit the weights from them. A state that cannot be
read is replaced by the prior, which is stricter.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from cacheserver.cache.ports import Metrics
from cacheserver.calibration import label_intake
from cacheserver.calibration.labels import RETRACTS, SHADOW, Labels
from cacheserver.core.errors import StoreError
from cacheserver.core.evidence import as_json, read_evidence
from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.peers.peers import Told, nobody

LABELED = "labels"  # a kind of change that servers tell each other: tenant and scope, as JSON
_LOOK_S = 15.0  # between reads of labels that another program added
_REMEMBERED = 64  # scopes in memory, each up to a megabyte of labels
_TRIES = 3  # at writing a state that other servers write too
# States of version 0.1 have one more weight, of a pair verifier that no longer exists. It was off
# by default and its term was 0, so the other weights are as if fitted alone.
_OLD_WEIGHTS, _VERIFIED = 12, 10
_FIELDS = frozenset(one.name for one in fields(Label))


@dataclass(slots=True)
class _Scope:
    state: Calibration = field(default_factory=Calibration)
    version: int = 0
    ids: deque[str] = field(
        default_factory=lambda: deque(maxlen=calibration.MAX_LABELS)
    )  # of labels
    last: str | None = None  # the newest label read, also of another embedder
    looked_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # around looks and refits
    bars: dict[float, conformal_bound.Bar] = field(
        default_factory=dict
    )  # by target, as of the last fit


class States:
    """Calibration states by tenant and scope, for one embedder."""

    def __init__(
        self,
        labels: Labels,
        metrics: Metrics,
        *,
        embedder: str,
        clock: Callable[[], float],
        told: Told = nobody,
    ) -> None:
        """`embedder` is its `evidence_id`, so labels of another prior are another's too.

        `told` is called with what was changed, and returns once it is in force on all servers.
        """
        self._told = told
        self.embedder = embedder
        self._labels = labels
        self._metrics = metrics
        self._clock = clock
        self._scopes: OrderedDict[tuple[str, str], _Scope] = OrderedDict()

    async def get(self, tenant: str, scope: str) -> Calibration:
        """Return the scope's state; the prior if nothing was learned or Redis fails."""
        cached = self._cached(tenant, scope)
        if self._clock() - cached.looked_at >= _LOOK_S:
            cached.looked_at = self._clock()
            try:
                async with cached.lock:
                    await self._look(tenant, scope, cached)
            except StoreError:
                self._metrics.swallowed("calibration")
        return cached.state

    async def shadow_window(self, tenant: str) -> list[Mapping[str, Any]]:
        """Return the rows of shadow mode made with this embedder. Raises `StoreError`."""
        rows = await self._labels.window(tenant, SHADOW)
        return [row for _, row in rows if self.made(row)]

    def made(self, row: Mapping[str, Any]) -> bool:
        """Return True if the evidence of a stored record rests on this embedder."""
        return bool(row.get("embedder", FIRST_EMBEDDER) == self.embedder)

    async def with_bar(
        self, tenant: str, scope: str, target: float
    ) -> tuple[Calibration, conformal_bound.Bar]:
        """Return the scope's state and its bar for `target`, both of one fit."""
        await self.get(tenant, scope)
        cached = self._cached(tenant, scope)
        while (bar := cached.bars.get(target)) is None:  # later fits make it too
            state = cached.state
            if state.cold_start:
                cached.bars[target] = conformal_bound.bar_for(state, target)
            else:  # some milliseconds, in a thread
                made = await asyncio.to_thread(conformal_bound.bar_for, state, target)
                if (
                    cached.state.weights == state.weights
                ):  # no refit meanwhile, but perhaps new labels
                    cached.bars[target] = conformal_bound.refresh_shut_groups(made, cached.state)
        return cached.state, bar

    async def learn(
        self, tenant: str, scope: str, label: Label, *, once: str | None = None
    ) -> str | None:
        """Store a label that adds information, and refit if due; return its id.

        None: it adds none, and was dropped. The other servers have taken note when it returns.
        Raises `StoreError`.
        """
        added = await self._learn(tenant, scope, label, once)
        if added is not None:
            await self._tell(tenant, scope)
        return added

    async def _learn(self, tenant: str, scope: str, label: Label, once: str | None) -> str | None:
        cached, label = self._cached(tenant, scope), replace(label, at=self._clock())
        async with cached.lock:
            await self._look(tenant, scope, cached)
            if not label_intake.wanted(cached.state, label):
                self._metrics.dropped("labels")
                return None
            added = await self._labels.add(tenant, scope, encode(label), once=once)
            await self._look(tenant, scope, cached)
            for _ in range(_TRIES):
                if not cached.state.refit_due:
                    break
                fitted, bars = await _fit(cached, cached.state, calibration.refit)
                data = self._encode_state(fitted, cached.ids[-1])
                saved = await self._labels.save_state(tenant, scope, data, version=cached.version)
                cached.state = fitted
                cached.bars.update(bars)
                if saved:
                    break
                await self._look(tenant, scope, cached)
            return added

    async def retract(self, tenant: str, scope: str, label_id: str) -> None:
        """Remove a label, on all servers.

        The weights keep what they learned of it until the next fit. Raises `StoreError`.
        """
        cached = self._cached(tenant, scope)
        async with cached.lock:
            await self._look(tenant, scope, cached)
            await self._labels.retract(tenant, scope, label_id)
            await self._look(tenant, scope, cached)
        await self._tell(tenant, scope)

    async def look_again(self, bodies: Sequence[str]) -> None:
        """Have the next request of these scopes look at what other servers changed."""
        for body in bodies:
            tenant, scope = json.loads(body)
            self._labels.forget_read(tenant, scope)
            if (cached := self._scopes.get((tenant, scope))) is not None:
                cached.looked_at = -math.inf

    async def look_at_all_again(self) -> None:
        for tenant, scope in self._scopes:
            await self.look_again([json.dumps([tenant, scope])])

    async def _tell(self, tenant: str, scope: str) -> None:
        await self._told(LABELED, json.dumps([tenant, scope]))

    async def _look(self, tenant: str, scope: str, cached: _Scope) -> None:
        """Update `cached` from Redis."""
        data, version = await self._labels.state(tenant, scope)
        state, review, served = cached.state, False, False
        for label_id, row in await self._labels.window(tenant, scope, after=cached.last):
            cached.last = label_id
            if (removed := str(row.get(RETRACTS))) in cached.ids:
                state = calibration.unlearn(state, cached.ids.index(removed))
                cached.ids.remove(removed)
                review = True
            elif (label := self._read(row)) is not None:
                state = calibration.learn(state, label)
                cached.ids.append(label_id)
                review |= state.review_due
                served |= label.served
        if version != cached.version and data is not None:
            state, review = self._as_fitted(state, data, cached.ids), True
        if review:
            state, bars = await _fit(cached, state, calibration.refit_offsets)
            cached.bars.update(bars)
        elif served:  # answers that exceed the target are shut at once
            bars = await _shut(cached, state)
            cached.bars.update(bars)
        cached.state, cached.version, cached.looked_at = state, version, self._clock()

    def _encode_state(self, state: Calibration, newest: str) -> bytes:
        found = {"weights": state.weights, "newest": newest, "embedder": self.embedder}
        return json.dumps(found).encode()

    def _as_fitted(self, state: Calibration, data: bytes, ids: Sequence[str]) -> Calibration:
        """Return the state with stored weights; those of another embedder are left out."""
        return _as_fitted(state, data, ids) if self.made(json.loads(data)) else state

    def _read(self, row: Mapping[str, Any]) -> Label | None:
        """Return a label made with this embedder, or None."""
        label = decode(row)
        return None if label is None or label.embedder != self.embedder else label

    def _cached(self, tenant: str, scope: str) -> _Scope:
        cached = self._scopes.get((tenant, scope))
        if cached is None:
            cached = self._scopes[tenant, scope] = _Scope(looked_at=-_LOOK_S)
            if len(self._scopes) > _REMEMBERED:
                self._scopes.popitem(last=False)
        self._scopes.move_to_end((tenant, scope))
        return cached


async def _fit(
    cached: _Scope, state: Calibration, fit: Callable[[Calibration], Calibration]
) -> tuple[Calibration, dict[float, conformal_bound.Bar]]:
    """Fit the state and its bars: some 40 ms, in a thread."""
    targets = list(cached.bars)

    def work() -> tuple[Calibration, dict[float, conformal_bound.Bar]]:
        fitted = fit(state)
        return fitted, {target: conformal_bound.bar_for(fitted, target) for target in targets}

    return await asyncio.to_thread(work)


async def _shut(cached: _Scope, state: Calibration) -> dict[float, conformal_bound.Bar]:
    """Update the bars' shut groups: some 5 ms, in a thread."""
    bars = dict(cached.bars)

    def work() -> dict[float, conformal_bound.Bar]:
        return {
            target: conformal_bound.refresh_shut_groups(bar, state) for target, bar in bars.items()
        }

    return await asyncio.to_thread(work)


def encode(label: Label) -> dict[str, Any]:
    return {
        **asdict(label),
        "evidence": as_json(label.evidence),
        "foil": None if label.foil is None else as_json(label.foil),
    }


def decode(row: Mapping[str, Any]) -> Label | None:
    """Decode a stored label, also of another version; None if it cannot be read."""
    given = {name: value for name, value in row.items() if name in _FIELDS}
    try:
        foil = None if row.get("foil") is None else read_evidence(row["foil"])
        return Label(**{**given, "evidence": read_evidence(row["evidence"]), "foil": foil})
    except (TypeError, KeyError):
        return None


def _as_fitted(state: Calibration, data: bytes, ids: Sequence[str]) -> Calibration:
    """Return the state that another server fitted: its weights, and later labels as fresh."""
    found = json.loads(data)
    weights, newest = tuple(found["weights"]), found.get("newest")
    if len(weights) == _OLD_WEIGHTS:
        weights = (*weights[:_VERIFIED], *weights[_VERIFIED + 1 :])
    if len(weights) != len(calibration.NAMES) or newest is None:  # of another version: start again
        return state
    fresh = sum(_place(label_id) > _place(newest) for label_id in ids)
    return replace(state, weights=weights, fresh=fresh)


def _place(label_id: str) -> tuple[int, int]:
    """Return the position of a label in its stream."""
    at, _, number = label_id.partition("-")
    return int(at), int(number)
