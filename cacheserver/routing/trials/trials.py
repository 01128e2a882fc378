"""Trials: a share of routed requests is also sent to the neighbouring tier, and compared.

Rule: no request waits for a trial, none uses a caller's own key, and none repeats a request that
may not be shared. A tier that must be proven is not used until it is known to be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from cacheserver.cache import cacheability, fingerprint
from cacheserver.cache.ports import Metrics
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.background import BackgroundWork
from cacheserver.core.rules.routing import Tier
from cacheserver.core.types import PlannedCall, Query, Tenant
from cacheserver.routing.task_inference import last_text
from cacheserver.routing.trials import rules as trial_rules
from cacheserver.routing.trials.calls import TrialAnswer, TrialCalls
from cacheserver.routing.trials.comparison import Comparer
from cacheserver.routing.trials.rules import Pair, Standing, Trial
from cacheserver.routing.trials.store import TrialStore

logger = logging.getLogger(__name__)

_SITE: Final = "trials"
_AT_ONCE: Final = 8  # calls nobody waits for; beyond them the next request is as good for a trial
_FRESH_S: Final = 15.0  # what a pair has shown moves slowly; a miss must not cost a trip to Redis
_MOST_CACHED: Final = 10_000  # pairs of all tenants, a few hundred bytes each


class Trials:
    """Makes trials of live requests, and tells the router which tiers are blocked."""

    def __init__(
        self,
        store: TrialStore,
        *,
        calls: TrialCalls,
        comparer: Comparer,
        metrics: Metrics,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.store = store
        self.calls = calls
        self._comparer = comparer
        self._clock = clock
        self._chance = chance
        self._running = BackgroundWork(_SITE, metrics, limit=_AT_ONCE)
        self._counting = BackgroundWork(_SITE, metrics)
        self._standings: dict[tuple[str, Pair], tuple[float, Standing]] = {}
        self._asked: set[tuple[str, Pair]] = set()

    def barred(self, tenant: Tenant, task: str | None) -> Mapping[Tier, str]:
        """Return the tiers that such work may not use now, with the reasons. Never blocks.

        A pair whose results are not loaded yet is blocked; they are loaded meanwhile.
        """
        gate = None if task is None else trial_rules.gates(task, tenant.routing)
        if gate is None or task is None:
            return {}
        tier, _ = gate
        pair = trial_rules.pair_of(task, tier, tenant.routing)
        name = tenant.name, pair
        at, standing = self._standings.get(name, (0.0, "unproven"))
        if not 0 <= self._clock() - at < _FRESH_S and name not in self._asked:
            self._asked.add(name)
            self._counting.do(lambda: self._look(tenant, pair))
        return {} if standing == "proven" else {tier: trial_rules.BARRED[standing]}

    def learn(self, query: Query, planned: PlannedCall, message: Mapping[str, Any]) -> None:
        """Compare an answered request with another model's answer, by chance. Never blocks."""
        rules = query.tenant.routing
        if rules.trials.share == 0 or "routing" in query.controls.off:
            return
        if query.credential is not None or query.bypass is not None or query.body.get("tools"):
            return
        if cacheability.unstorable(message) is not None or cacheability.made_up(message):
            return
        trial = trial_rules.trial(planned.route, rules)
        if trial is not None and self._chance() < rules.trials.share:
            self._running.do(lambda: self._try(query, planned, message, trial))

    async def judge(self, tenant: Tenant, pair: Pair) -> Standing:
        """Return a pair's standing; a change is stored, and a roll-back raises an alert.

        Raises `StoreError`.
        """
        shown = await self.store.shown(tenant.name, pair)
        gate = trial_rules.gates(pair.task, tenant.routing)
        if gate is None or trial_rules.pair_of(pair.task, gate[0], tenant.routing) != pair:
            return shown.standing  # no rule asks for it
        least, now = gate[1], self._clock()
        standing = trial_rules.standing(shown, least)
        raised = standing == "proven" and (shown.least is None or shown.least < least)
        if standing != shown.standing or raised:
            alert = None
            if standing == "rolled-back":
                alert = _alert(pair, shown, least, now)
            changed = await self.store.change(
                tenant.name, pair, shown.standing, standing, least=least, now=now, alert=alert
            )
            if changed and alert is not None:
                logger.warning(
                    "a trial rolled back: tenant %s, task %s, from %s to %s",
                    *(tenant.name, pair.task, pair.cheap, pair.dear),
                )
        self._remember(tenant.name, pair, standing, now)
        return standing

    async def drain(self) -> None:
        """Return once all trials under way are over."""
        await self._running.drain()
        await self._counting.drain()

    async def close(self) -> None:
        """Cancel the trials under way."""
        await self._running.close(patience_s=0.0)
        await self._counting.close(patience_s=0.0)

    async def _look(self, tenant: Tenant, pair: Pair) -> None:
        try:
            await self.judge(tenant, pair)
        finally:
            self._asked.discard((tenant.name, pair))

    async def _try(
        self, query: Query, planned: PlannedCall, message: Mapping[str, Any], trial: Trial
    ) -> None:
        tenant = query.tenant
        # As it was asked, so shortened where it was, but without marks for another model's cache.
        body = {**fingerprint.shaping(json_text.loads(planned.body)), "model": trial.model}
        reply = await self.calls.ask(tenant, body, query.headers)
        if not isinstance(reply, TrialAnswer) or cacheability.made_up(reply.message):
            return
        agreed = await self._agreed(query, message, reply.message, trial)
        await self.store.add(
            tenant.name,
            trial.pair,
            agreed,
            cost=reply.cost,
            window=tenant.routing.trials.window,
            now=self._clock(),
        )
        await self.judge(tenant, trial.pair)

    async def _agreed(
        self, query: Query, message: Mapping[str, Any], other: Mapping[str, Any], trial: Trial
    ) -> bool | None:
        """Return whether the cheap answer can replace the dear one; None if undecided."""
        if cacheability.unstorable(other) is not None:
            # Refused, cut, empty: the cheap model's failure. The dear one's says nothing of it.
            return False if trial.cheap else None
        question = query.text or last_text(query.body) or ""
        one, two = sse.without_id(message), sse.without_id(other)
        judge = query.tenant.routing.trials.judge
        return await self._comparer.same(query.tenant.name, question, one, two, judge=judge)

    def _remember(self, tenant: str, pair: Pair, standing: Standing, now: float) -> None:
        self._standings.pop((tenant, pair), None)
        if len(self._standings) >= _MOST_CACHED:
            del self._standings[next(iter(self._standings))]
        self._standings[tenant, pair] = now, standing


def _alert(pair: Pair, shown: trial_rules.PairRecord, least: float, now: float) -> dict[str, Any]:
    return {
        "at": now,
        "reason": "trial-rolled-back",
        "task": pair.task,
        "from_model": pair.dear,
        "to_model": pair.cheap,
        "min_agreement": least,
        "agreed": shown.agreed,
        "count": len(shown.window),
        "gold_right": None if shown.gold is None else shown.gold.right,
        "gold_count": None if shown.gold is None else shown.gold.count,
    }
