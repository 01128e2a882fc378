"""Runs gold sets against a model, on demand and on schedule; the result blocks or proves a tier.

Rule: a run that could not ask nearly all of its questions gives no result.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cacheserver.cache import cacheability
from cacheserver.cache.ports import Metrics
from cacheserver.core import json_text
from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.rules.routing import Tier
from cacheserver.core.single_flight import end
from cacheserver.core.types import API_VERSION, Nanodollars, Tenant
from cacheserver.peers.work_lease import ALONE, Lease
from cacheserver.routing import answer_checks
from cacheserver.routing.task_inference import last_text
from cacheserver.routing.trials import gold_rules
from cacheserver.routing.trials import rules as trial_rules
from cacheserver.routing.trials.calls import TrialAnswer, TrialCalls
from cacheserver.routing.trials.comparison import Comparer
from cacheserver.routing.trials.gold_rules import Item
from cacheserver.routing.trials.rules import GoldScore
from cacheserver.routing.trials.store import TrialStore
from cacheserver.routing.trials.trials import Trials

logger = logging.getLogger(__name__)

_SITE: Final = "gold"
_TICK_S: Final = 60.0  # the shortest schedule is an hour
_AT_ONCE: Final = 4  # questions of a run; live requests share the connections
_RUNS: Final = 8  # under way here, before the schedule begins another
_ASKED_LEAST: Final = 0.9  # of a set's questions, for its run to count
_HEADERS: Final = {"anthropic-version": API_VERSION}


class Tenants(Protocol):
    async def list_tenants(self) -> Sequence[Tenant]: ...


@dataclass(frozen=True, slots=True)
class Run:
    """Run of a gold set, finished or under way."""

    task: str
    tier: Tier
    model: str
    items: int
    right: int = 0
    wrong: int = 0
    undecided: int = 0  # neither could be told
    unasked: int = 0  # the spending cap, Claude failed, or the simulated Claude made the answer up
    cost: Nanodollars = 0
    state: str = "running"  # "counted", "incomplete"


@dataclass(frozen=True, slots=True)
class _Graded:
    right: bool | None
    cost: Nanodollars


class GoldRuns:
    """Runs gold sets."""

    def __init__(
        self,
        store: TrialStore,
        *,
        calls: TrialCalls,
        comparer: Comparer,
        trials: Trials,
        tenants: Tenants,
        metrics: Metrics,
        clock: Callable[[], float],
        lease: Lease = ALONE,
    ) -> None:
        self._lease = lease
        self._store = store
        self._calls = calls
        self._comparer = comparer
        self._trials = trials
        self._tenants = tenants
        self._metrics = metrics
        self._clock = clock
        self._runs: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._last: dict[tuple[str, str], Run] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the schedule."""
        self._task = asyncio.create_task(self._keep(), name="trials:gold")

    async def close(self) -> None:
        """Stop; a run under way counts for nothing."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        for task in list(self._runs.values()):
            await end(task)

    async def begin(
        self, tenant: Tenant, task: str, tier: Tier, *, slot: int | None = None
    ) -> Run | None:
        """Start a run in the background, or return the one under way.

        `slot`: that of the schedule. None: the task has no gold set. Raises `StoreError`.
        """
        found = await self._store.gold(tenant.name, task)
        if found is None:
            return None
        name = tenant.name, task
        if name not in self._runs:
            model = trial_rules.pair_of(task, tier, tenant.routing).cheap
            run = self._last[name] = Run(task, tier, model, len(found.items))
            work = self._run(tenant, run, found.items, slot)
            self._runs[name] = asyncio.create_task(work, name="trials:gold-run")
        return self._last.get(name)

    def last(self, tenant: str, task: str) -> Run | None:
        """Return the last run that this server started."""
        return self._last.get((tenant, task))

    async def idle(self) -> None:
        """Return once no run is under way."""
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def round(self) -> int:
        """Start the runs that are due; return how many.

        Raises `StoreError`.
        """
        begun = 0
        for tenant in await self._tenants.list_tenants():
            every_s = tenant.routing.trials.gold_every_s
            slot = int(self._clock() // every_s)
            for task in await self._store.gold_tasks(tenant.name):
                gate = trial_rules.gates(task, tenant.routing)
                if gate is None or len(self._runs) >= _RUNS:
                    continue  # no tier depends on it: it is run when somebody asks
                if (tenant.name, task) in self._runs:
                    continue
                if await self._store.begin_run(tenant.name, task, slot, every_s):
                    begun += await self.begin(tenant, task, gate[0], slot=slot) is not None
        return begun

    async def _run(self, tenant: Tenant, run: Run, items: Sequence[Item], slot: int | None) -> None:
        name = tenant.name, run.task
        try:
            self._last[name] = await self._graded(tenant, run, items, slot)
            if slot is not None and self._lease.held:
                await self._store.end_run(tenant.name, run.task, slot)
        except StoreError:
            self._metrics.swallowed(_SITE)
            self._last[name] = Run(run.task, run.tier, run.model, run.items, state="incomplete")
        except Exception as error:  # the task boundary: the next run has its chance
            self._metrics.swallowed(_SITE)
            self._last[name] = Run(run.task, run.tier, run.model, run.items, state="incomplete")
            logger.error("a gold set could not be run: %s", type(error).__name__)
        finally:
            del self._runs[name]

    async def _graded(
        self, tenant: Tenant, run: Run, items: Sequence[Item], slot: int | None
    ) -> Run:
        few = asyncio.Semaphore(_AT_ONCE)

        async def one(item: Item) -> _Graded | None:
            async with few:
                if slot is not None and not self._lease.held:
                    return None  # another server runs it anew
                return await self._grade(tenant, run.model, item)

        graded = [found for found in await asyncio.gather(*map(one, items)) if found is not None]
        right = sum(found.right is True for found in graded)
        wrong = sum(found.right is False for found in graded)
        cost = sum(found.cost for found in graded)
        counted = len(graded) >= _ASKED_LEAST * len(items) and right + wrong > 0
        if counted:
            pair = trial_rules.pair_of(run.task, run.tier, tenant.routing)
            score = GoldScore(right, right + wrong, self._clock())
            await self._store.score(tenant.name, pair, score, cost=cost)
            await self._trials.judge(tenant, pair)
        return Run(
            run.task,
            run.tier,
            run.model,
            len(items),
            right=right,
            wrong=wrong,
            undecided=len(graded) - right - wrong,
            unasked=len(items) - len(graded),
            cost=cost,
            state="counted" if counted else "incomplete",
        )

    async def _grade(self, tenant: Tenant, model: str, item: Item) -> _Graded | None:
        """Grade one item; None: it was not asked, or not answered."""
        reply = await self._calls.ask(tenant, gold_rules.body_for(item, model), _HEADERS)
        if not isinstance(reply, TrialAnswer) or cacheability.made_up(reply.message):
            return None
        return _Graded(await self._right(tenant, item, reply.message), reply.cost)

    async def _right(self, tenant: Tenant, item: Item, message: Mapping[str, Any]) -> bool | None:
        if cacheability.unstorable(message) is not None:
            return False
        if item.check is not None and answer_checks.flaw(message, item.check) is not None:
            return False
        if item.expected is None:
            return True
        return await self._comparer.same(
            tenant.name,
            last_text(item.body) or "",
            json_text.dumps(dict(message)),
            json_text.dumps({"content": [{"type": "text", "text": item.expected}]}),
            judge=tenant.routing.trials.judge,
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                with one_round():
                    if self._lease.held:
                        await self.round()
            except StoreError:
                self._metrics.swallowed(_SITE)
            except Exception as error:  # the task boundary: what one round met, the next may not
                self._metrics.swallowed(_SITE)
                logger.warning("gold sets were not looked at: %s", type(error).__name__)
