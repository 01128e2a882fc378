"""Judge: asks Claude whether two answers say the same, if embeddings and figures do not decide.

Rule: asked for a share of the undecided pairs, within a day's cap, in the background. Its cost is
charged to the tenant. A judge that fails is counted, and the pair stays undecided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cacheserver.cache import cacheability
from cacheserver.cache.ports import Claude, DecisionLog, Metrics, Pricer
from cacheserver.calibration import judge_prompt
from cacheserver.calibration.labels import Labels
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import Nanodollars, Usage

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Settings of the judge."""

    model: str
    share: float  # of undecided pairs that are asked about, above 0 to 1
    cap: Nanodollars  # a day and tenant; 0: never asked


class Judge:
    """Asks Claude whether two answers to a question say the same."""

    def __init__(
        self,
        *,
        judging: JudgeSettings,
        labels: Labels,
        claude: Claude,
        pricer: Pricer,
        decision_log: DecisionLog,
        metrics: Metrics,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.judging = judging
        self._labels = labels
        self._claude = claude
        self._pricer = pricer
        self._journal = decision_log
        self._metrics = metrics
        self._clock = clock
        self._chance = chance

    @property
    def share(self) -> float:
        """Return the share of undecided pairs that are asked about."""
        return self.judging.share

    async def same(
        self, tenant: str, question: str, one: str, other: str, *, always: bool = False
    ) -> bool | None:
        """Return the verdict; None if the judge was not asked, may not be, or failed.

        `always`: ask whatever the share of the undecided. Raises `StoreError`.
        """
        judging, now = self.judging, self._clock()
        if judging.cap == 0 or (not always and self._chance() >= judging.share):
            return None
        if not judge_prompt.readable(question, one, other):
            return None
        body = judge_prompt.body_of(question, one, other, model=judging.model)
        most = Usage(judge_prompt.tokens_at_most(body), judge_prompt.MAX_TOKENS)
        reserved = self._pricer.cost(judging.model, most, now)
        if reserved is None:  # the cap cannot hold for a model without a price
            self._metrics.swallowed("judge-price")
            return None
        if not await self._spend(tenant, reserved, now):
            self._metrics.swallowed("judge-cap")
            return None
        try:
            reply = await self._claude.create(Call(json_text.dumps(body), {}, tenant=tenant))
            message = json_text.loads(reply.body)
        except (UpstreamError, ValueError):
            await self._refund(tenant, reserved, now)
            self._metrics.swallowed("judge")
            return None
        bill = self._pricer.bill(message, now) if isinstance(message, dict) else None
        cost = reserved if bill is None else bill.cost
        await self._refund(tenant, reserved - cost, now)
        if isinstance(message, dict) and cacheability.made_up(message):
            return None
        same = isinstance(message, dict) and judge_prompt.says_same(message)
        verdict = "judge_same" if same else "judge_different"
        self._journal.count(tenant, {"judge": 1, verdict: 1, "judge_cost_nanodollars": cost})
        return same

    async def _spend(self, tenant: str, amount: Nanodollars, now: float) -> bool:
        cap = self.judging.cap
        return await self._labels.spend(tenant, "judge", amount, cap=cap, period_s=_DAY_S, now=now)

    async def _refund(self, tenant: str, amount: Nanodollars, now: float) -> None:
        if amount > 0:
            await self._labels.refund(tenant, "judge", amount, period_s=_DAY_S, now=now)
