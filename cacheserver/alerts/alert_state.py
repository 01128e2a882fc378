"""State of alerts: acknowledged, silenced, delivered, and still true.

P alst  hash: "seen" -> the ids that the last check found, and when
              "upstream" -> the ids of the last server whose circuit breaker is open, and when
              "a id" -> who acknowledged an alert, why and when
              "s tenant kind" -> until when alerts of a kind are not sent, who and why
              "c tenant channel" -> how the last delivery by a channel ended
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.json_values import decode_object

# Two checks of a minute each: one may be late, and another server may have made it.
ACTIVE_S: Final = 180.0
_KEPT_S: Final = 62 * 86_400  # of acknowledgements: the longest period of an alert
_MOST: Final = 5_000  # fields; beyond it the oldest acknowledgements go

Fields = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class AlertStates:
    """State of all alerts at one moment."""

    fields: Fields
    now: float

    def active(self, alert_id: str) -> bool:
        """Return whether the last check found that it still holds."""
        return any(
            self.now - seen["at"] < ACTIVE_S and alert_id in seen["ids"]
            for name in ("seen", "upstream")
            if (seen := self.fields.get(name)) is not None
        )

    def acknowledged(self, alert_id: str) -> dict[str, Any] | None:
        return self.fields.get(f"a {alert_id}")

    def silenced(self, tenant: str, kind: str) -> dict[str, Any] | None:
        """Return the silence of a kind of alerts, if it is not over."""
        found = self.fields.get(f"s {tenant} {kind}")
        return None if found is None or found["until"] <= self.now else found

    def silences(self, tenant: str) -> list[dict[str, Any]]:
        """Return a tenant's silences that are not over, by kind."""
        start = f"s {tenant} "
        kinds = sorted(name.removeprefix(start) for name in self.fields if name.startswith(start))
        found = ((kind, self.silenced(tenant, kind)) for kind in kinds)
        return [{"kind": kind, **one} for kind, one in found if one is not None]

    def delivery(self, tenant: str, channel: str) -> dict[str, Any] | None:
        """Return how the last delivery by a channel ended."""
        return self.fields.get(f"c {tenant} {channel}")


class AlertStateStore:
    """Store of the states. Every method raises `StoreError`. `now` is Unix seconds."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._key = f"{prefix}alst"

    async def read(self, now: float) -> AlertStates:
        found = await command(self._redis, "HGETALL", self._key)
        fields = {
            name.decode(): decode_object("an alert's state", value) for name, value in found.items()
        }
        return AlertStates(fields, now)

    async def note_seen(self, ids: Sequence[str], now: float) -> None:
        """Record what a check found."""
        await self._put("seen", {"at": now, "ids": list(ids)})

    async def note_upstream(self, ids: Sequence[str], now: float) -> None:
        """Record the alerts of a server whose circuit breaker is open; none: it has closed.

        Each server has its own breaker, while one checks for all: it notes them every few seconds.
        """
        await self._put("upstream", {"at": now, "ids": list(ids)})

    async def acknowledge(self, alert_id: str, who: str, reason: str, now: float) -> dict[str, Any]:
        """Record that somebody has seen an alert. Returns the record."""
        record = {"by": who, "reason": reason, "at": round(now, 3)}
        await self._put(f"a {alert_id}", record)
        await self._trim(now)
        return record

    async def take_back(self, alert_id: str) -> bool:
        """Remove an acknowledgement. False: there is none."""
        return bool(await command(self._redis, "HDEL", self._key, f"a {alert_id}"))

    async def silence(
        self, tenant: str, kind: str, *, until: float, who: str, reason: str, now: float
    ) -> dict[str, Any]:
        """Keep alerts of a kind from being sent. Returns the record."""
        record = {"until": round(until, 3), "by": who, "reason": reason, "at": round(now, 3)}
        await self._put(f"s {tenant} {kind}", record)
        return record

    async def end_silence(self, tenant: str, kind: str) -> bool:
        """End a silence. False: there is none."""
        return bool(await command(self._redis, "HDEL", self._key, f"s {tenant} {kind}"))

    async def is_silenced(self, tenant: str, kind: str, now: float) -> bool:
        found = await command(self._redis, "HGET", self._key, f"s {tenant} {kind}")
        return found is not None and decode_object("a silence", found)["until"] > now

    async def note_delivery(
        self, tenant: str, channel: str, *, alert_id: str, error: str | None, now: float
    ) -> None:
        """Record how a delivery ended; `error` None: it arrived."""
        record = {"at": round(now, 3), "alert": alert_id, "error": error}
        await self._put(f"c {tenant} {channel}", record)

    async def _put(self, name: str, record: dict[str, Any]) -> None:
        await command(self._redis, "HSET", self._key, name, orjson.dumps(record))

    async def _trim(self, now: float) -> None:
        """Delete acknowledgements of alerts whose period is over, and the oldest of too many."""
        fields = (await self.read(now)).fields
        oldest = sorted(
            (record["at"], name) for name, record in fields.items() if name.startswith("a ")
        )
        crowd = max(0, len(fields) - _MOST)
        gone = [
            name for place, (at, name) in enumerate(oldest) if place < crowd or now - at > _KEPT_S
        ]
        if gone:
            await command(self._redis, "HDEL", self._key, *gone)
