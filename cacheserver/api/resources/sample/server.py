"""This server as the sample traffic uses it: the functions that a request's handler calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cacheserver.api.components import Components
from cacheserver.api.resources.deferred import Deferral, take
from cacheserver.api.resources.query import answer_as, query_of, validated
from cacheserver.core import json_text
from cacheserver.core.errors import CallerError, UpstreamError
from cacheserver.core.types import Tenant
from cacheserver.sample_traffic.replay import WHO, Served, UnsurePair, Verdict
from cacheserver.sample_traffic.traffic import TENANT

# With a bar of 1%, the default, a new scope serves little but twins. The sample costs 0.11 USD,
# most of this budget: there is an alert to be seen.
_SETTINGS: Final[Mapping[str, Any]] = {
    "default_ttl_s": 86_400,
    "bar": {"target": 0.02},
    "batching": {"flush_age_s": 10},
    "budgets": {"daily": {"usd": 0.15}, "at_limit": "warn"},
}


class SampledServer:
    """Answers the sample's requests as those of its tenant. Needs no key."""

    def __init__(self, parts: Components) -> None:
        self._parts = parts

    async def prepare(self) -> None:
        if not (await self._parts.tenants.stored(TENANT)).own:
            await self._parts.tenants.change(TENANT, _SETTINGS, who=WHO)
        await self._parts.entries.restored.wait()

    async def ask(self, fields: Mapping[str, Any]) -> Served:
        parts = self._parts
        if fields.get("conversation") is not None and parts.capabilities.conversations is None:
            fields = {**fields, "conversation": None}
        try:
            _, answer = await answer_as(parts, await self._tenant(), fields)
        except (CallerError, UpstreamError):
            return Served("failed")
        if answer.events is not None:
            async for _ in answer.events:
                pass
            text = ""
        else:
            blocks = json_text.loads(answer.body)["content"]
            text = "".join(block.get("text", "") for block in blocks)
        return Served(answer.headers["x-cache"], answer.headers["x-cache-decision"], text)

    async def defer(self, fields: Mapping[str, Any]) -> Served:
        parts, tenant = self._parts, await self._tenant()
        if parts.capabilities.batches is None:
            return Served("failed")
        query = query_of(
            validated(fields), headers={}, upstream_headers={}, tenant=tenant, parts=parts
        )
        later = Deferral(batch=True, deadline=None, webhook=None)
        try:
            await take(parts.batches, tenant, query, later, key_id=None)
        except CallerError:
            return Served("failed")
        return Served("deferred")

    async def feedback(self, decision: str, *, good: bool) -> None:
        if (calibration := self._parts.capabilities.calibration) is not None:
            fields = {"decision_id": decision, "verdict": "good" if good else "bad"}
            await calibration.feedback.give(await self._tenant(), fields)

    async def unsure(self) -> Sequence[UnsurePair]:
        if (calibration := self._parts.capabilities.calibration) is None:
            return []
        await calibration.learner.idle()
        pairs = await calibration.label_queue.pairs(TENANT)
        pairs.sort(key=lambda one: not one.served)
        return [UnsurePair(one.id, one.query_a, one.query_b) for one in pairs]

    async def label(self, pair: str, verdict: Verdict) -> None:
        queue = self._parts.calibration.label_queue
        await queue.give(TENANT, pair, verdict, who=WHO)

    async def _tenant(self) -> Tenant:
        return await self._parts.tenants.of_caller(TENANT)
