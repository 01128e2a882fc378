"""Calibration states at hand: read from Redis now and then, written after each refit.

The labels are the truth and stand in Redis; the weights are made of them, by whichever server gets
to it first. A state that cannot be read is the prior: doubt decides, conservatively.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from cacheserver.cache.ports import Metrics
from cacheserver.calibration import label_intake
from cacheserver.calibration.labels import Labels
from cacheserver.core.errors import StoreError
from cacheserver.core.evidence import read_evidence
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label

_LOOK_S = 15.0  # between looks for what other servers learned
_REMEMBERED = 64  # scopes in memory, each up to a megabyte of labels
_TRIES = 3  # at writing a state that other servers write too
# States of version 0.1 have one weight more, of a second reading of the pair that is gone. Where
# nothing was read again, as by default, its term was 0: the other weights are as if fitted alone.
_OLD_WEIGHTS, _VERIFIED = 12, 10
_FIELDS = frozenset(one.name for one in fields(Label))


@dataclass(slots=True)
class _Scope:
    state: Calibration = field(default_factory=Calibration)
    version: int = 0
    ids: deque[str] = field(
        default_factory=lambda: deque(maxlen=calibration.MAX_LABELS)
    )  # of labels
    last: str | None = None  # the newest label that was read, also where it is none of ours
    looked_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # around looks and refits
    bars: dict[float, conformal_bound.Bar] = field(
        default_factory=dict
    )  # by target, as of the last fit


class States:
    """One calibration per tenant and scope, of this embedder."""

    def __init__(
        self,
        labels: Labels,
        metrics: Metrics,
        *,
        embedder: str,
        clock: Callable[[], float],
    ) -> None:
        self.embedder = embedder
        self._labels = labels
        self._metrics = metrics
        self._clock = clock
        self._scopes: OrderedDict[tuple[str, str], _Scope] = OrderedDict()

    async def get(self, tenant: str, scope: str) -> Calibration:
        """The scope's state; the prior where nothing was learned or Redis is away."""
        kept = self._kept(tenant, scope)
        if self._clock() - kept.looked_at >= _LOOK_S:
            kept.looked_at = self._clock()
            try:
                async with kept.lock:
                    await self._look(tenant, scope, kept)
            except StoreError:
                self._metrics.swallowed("calibration")
        return kept.state

    async def barred(
        self, tenant: str, scope: str, target: float
    ) -> tuple[Calibration, conformal_bound.Bar]:
        """The scope's state, and how sure is sure enough there for a target; both of one fit."""
        await self.get(tenant, scope)
        kept = self._kept(tenant, scope)
        while (bar := kept.bars.get(target)) is None:  # with each fit after, it is made beside
            state = kept.state
            if state.cold_start:
                kept.bars[target] = conformal_bound.bar_for(state, target)
            else:  # some milliseconds, away from the event loop
                made = await asyncio.to_thread(conformal_bound.bar_for, state, target)
                if kept.state.weights == state.weights:  # labels may have come meanwhile
                    kept.bars[target] = conformal_bound.refresh_shut_groups(made, kept.state)
        return kept.state, bar

    async def learn(
        self, tenant: str, scope: str, label: Label, *, once: str | None = None
    ) -> None:
        """Keep a label that adds to what is known, and refit where that is worth it.

        Raises `StoreError`.
        """
        kept, label = self._kept(tenant, scope), replace(label, at=self._clock())
        async with kept.lock:
            await self._look(tenant, scope, kept)
            if not label_intake.wanted(kept.state, label):
                self._metrics.dropped("labels")
                return
            await self._labels.add(tenant, scope, encode(label), once=once)
            await self._look(tenant, scope, kept)
            for _ in range(_TRIES):
                if not kept.state.refit_due:
                    return
                fitted, bars = await _fit(kept, kept.state, calibration.refit)
                data = json.dumps({"weights": fitted.weights, "newest": kept.ids[-1]}).encode()
                saved = await self._labels.save_state(tenant, scope, data, version=kept.version)
                kept.state = fitted
                kept.bars.update(bars)
                if saved:
                    return
                await self._look(tenant, scope, kept)

    async def _look(self, tenant: str, scope: str, kept: _Scope) -> None:
        """Bring `kept` up to what Redis has."""
        data, version = await self._labels.state(tenant, scope)
        state, review, served = kept.state, False, False
        for label_id, row in await self._labels.window(tenant, scope, after=kept.last):
            kept.last = label_id
            if (label := self._read(row)) is not None:
                state = calibration.learn(state, label)
                kept.ids.append(label_id)
                review |= state.review_due
                served |= label.served
        if version != kept.version and data is not None:
            state, review = _as_fitted(state, data, kept.ids), True
        if review:
            state, bars = await _fit(kept, state, calibration.refit_offsets)
            kept.bars.update(bars)
        elif served:  # an answer that breaks the target is not served until the next review
            bars = await _shut(kept, state)
            kept.bars.update(bars)
        kept.state, kept.version, kept.looked_at = state, version, self._clock()

    def _read(self, row: Mapping[str, Any]) -> Label | None:
        """A label made with this embedder."""
        label = decode(row)
        return None if label is None or label.embedder != self.embedder else label

    def _kept(self, tenant: str, scope: str) -> _Scope:
        kept = self._scopes.get((tenant, scope))
        if kept is None:
            kept = self._scopes[tenant, scope] = _Scope(looked_at=-_LOOK_S)
            if len(self._scopes) > _REMEMBERED:
                self._scopes.popitem(last=False)
        self._scopes.move_to_end((tenant, scope))
        return kept


async def _fit(
    kept: _Scope, state: Calibration, fit: Callable[[Calibration], Calibration]
) -> tuple[Calibration, dict[float, conformal_bound.Bar]]:
    """The fitted state with the bars that are asked for, as of it: some 40 ms, in a thread."""
    targets = list(kept.bars)

    def work() -> tuple[Calibration, dict[float, conformal_bound.Bar]]:
        fitted = fit(state)
        return fitted, {target: conformal_bound.bar_for(fitted, target) for target in targets}

    return await asyncio.to_thread(work)


async def _shut(kept: _Scope, state: Calibration) -> dict[float, conformal_bound.Bar]:
    """The bars with what the newest labels shut: some 5 ms, in a thread."""
    bars = dict(kept.bars)

    def work() -> dict[float, conformal_bound.Bar]:
        return {
            target: conformal_bound.refresh_shut_groups(bar, state) for target, bar in bars.items()
        }

    return await asyncio.to_thread(work)


def encode(label: Label) -> dict[str, Any]:
    return asdict(label)


def decode(row: Mapping[str, Any]) -> Label | None:
    """A label as it was kept, also by another version; None for one that cannot be read."""
    known = {name: value for name, value in row.items() if name in _FIELDS}
    try:
        foil = None if row.get("foil") is None else read_evidence(row["foil"])
        return Label(**{**known, "evidence": read_evidence(row["evidence"]), "foil": foil})
    except (TypeError, KeyError):
        return None


def _as_fitted(state: Calibration, data: bytes, ids: Sequence[str]) -> Calibration:
    """The state as a server fitted it: with its weights, and the labels since then as fresh."""
    found = json.loads(data)
    weights, newest = tuple(found["weights"]), found.get("newest")
    if len(weights) == _OLD_WEIGHTS:
        weights = (*weights[:_VERIFIED], *weights[_VERIFIED + 1 :])
    if len(weights) != len(calibration.NAMES) or newest is None:  # of another version: begin again
        return state
    fresh = sum(_place(label_id) > _place(newest) for label_id in ids)
    return replace(state, weights=weights, fresh=fresh)


def _place(label_id: str) -> tuple[int, int]:
    """The place of a label in its stream."""
    at, _, number = label_id.partition("-")
    return int(at), int(number)
