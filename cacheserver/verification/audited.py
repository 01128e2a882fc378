"""Audited verdicts of a tenant and model: their counts in Redis, and the error rates they show.

Rule: a verdict is audited by a fresh answer, never by its own model and prompt, nor by what callers
send to a review: how likely that was to be looked at is not known. Where audited yeses break the
target, verification of the tenant is off until an operator resets it. `tenant` is the name that the
operator gave: all callers with keys of their own share its state.
"""

from __future__ import annotations

from collections.abc import Callable

from cacheserver.core.errors import StoreError
from cacheserver.matching.verification import Audited, ErrorRates, measured_rates
from cacheserver.storage.connection import PREFIX, Connection, command, store_errors
from cacheserver.storage.json_values import tenant_key
from cacheserver.verification.audit_state import AuditState

_READ_S = 5.0  # how old counts may be that a decision uses
_MOST_TENANTS = 10_000  # whose counts are in memory
_WEIGHTS = ("right_yes", "wrong_yes", "right_no", "wrong_no")
_COUNTS = ("yeses", "noes", "wrong", "hits", "wrong_hits", "resets")
_FORGOTTEN = (*_WEIGHTS, *_COUNTS[:-1], "off", "drifted_at")  # by a reset


class AuditedVerdicts:
    """Counts of audited verdicts. Failures raise `StoreError`."""

    def __init__(
        self,
        redis: Connection,
        *,
        model: str,
        clock: Callable[[], float],
        prefix: str = PREFIX,
    ) -> None:
        self._redis = redis
        self._model = model
        self._clock = clock
        self._prefix = prefix
        self._read: dict[str, tuple[float, AuditState]] = {}

    async def state(self, tenant: str) -> AuditState:
        """Return the counts of a tenant, some seconds old at most."""
        now = self._clock()
        found = self._read.get(tenant)
        if found is None or not 0 <= now - found[0] < _READ_S:
            stored = await command(self._redis, "HGETALL", self._key(tenant))
            found = self._read[tenant] = now, _decoded(stored)
            if len(self._read) > _MOST_TENANTS:
                del self._read[next(iter(self._read))]
        return found[1]

    def rates(self, state: AuditState, stated: ErrorRates) -> ErrorRates:
        """Return the measured error rates, or the stated ones while audits are few."""
        return measured_rates(state.audited, stated)

    async def add(
        self, tenant: str, *, yes: bool, right: bool, weight: float, target: float | None
    ) -> None:
        """Count an audited verdict, and switch off if its yeses now break `target`.

        `right`: the stored answer serves. `target` is None unless the verdict was served: other
        answers are compared once only, so that some that serve are called different.
        """
        if yes:
            field = "right_yes" if right else "wrong_yes"
        else:
            field = "wrong_no" if right else "right_no"
        key = self._key(tenant)
        await command(self._redis, "HINCRBYFLOAT", key, field, weight)
        await command(self._redis, "HINCRBY", key, "yeses" if yes else "noes", 1)
        if yes and not right:
            await command(self._redis, "HINCRBY", key, "wrong", 1)
        if not yes or target is None:
            self._read.pop(tenant, None)
            return
        await command(self._redis, "HINCRBY", key, "hits", 1)
        await command(self._redis, "HINCRBY", key, "wrong_hits", int(not right))
        self._read.pop(tenant, None)
        state = await self.state(tenant)
        if not right and not state.off and state.breaks(target):
            await self._set(tenant, "off", 1)

    async def note_drift(self, tenant: str) -> None:
        """Note that the share of yeses has changed, for the alert."""
        await self._set(tenant, "drifted_at", self._clock())

    async def reset(self, tenant: str) -> None:
        """Forget the counts, and switch on again; every server sees it within seconds."""
        key = self._key(tenant)
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hdel(key, *_FORGOTTEN)
                pipe.hincrby(key, "resets", 1)
                await pipe.execute()
        self._read.pop(tenant, None)

    async def _set(self, tenant: str, field: str, value: float) -> None:
        await command(self._redis, "HSET", self._key(tenant), field, value)
        self._read.pop(tenant, None)

    def _key(self, tenant: str) -> str:
        return f"{self._prefix}verify:{tenant_key(tenant)}:{self._model}"


def _decoded(stored: dict[bytes, bytes]) -> AuditState:
    try:
        weights = {name: float(stored.get(name.encode(), 0)) for name in _WEIGHTS}
        counts = (int(stored.get(name.encode(), 0)) for name in _COUNTS)
        yeses, noes, wrong, hits, wrong_hits, resets = counts
        drifted = stored.get(b"drifted_at")
        drifted_at = None if drifted is None else float(drifted)
    except ValueError:
        raise StoreError("the counts of audited verdicts are damaged") from None
    audited = Audited(**weights, yeses=yeses, noes=noes, wrong=wrong)
    return AuditState(audited, hits, wrong_hits, b"off" in stored, drifted_at, resets)
