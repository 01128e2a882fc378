"""The places where capabilities plug into the path of a request.

The kernel runs with the defaults: each stands for a capability that is switched off. The ledger
has no place here: a request is always recorded.

Background work begins and ends with a package's `build`. Commands plug in through
`core.command_line`; routes are in `api.resources`, and find a part that is off as `SwitchedOff`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cacheserver.cache import call_planner, ports
from cacheserver.cache.absent import (
    NoBudgets,
    NoEscalation,
    NoLanguage,
    NoLearner,
    NoOutcomes,
    NoRateLimits,
    NoVerifier,
    PriorOnly,
)
from cacheserver.cache.ports import Verifier
from cacheserver.cache.settlement import Watch as Ended
from cacheserver.core.types import Nanodollars, Query
from cacheserver.matching.language import Language


@dataclass(slots=True)
class Plugins:
    """Capabilities on the request path; each package's `build` fills it in."""

    # What may be spent, asked before Claude is.
    budgets: ports.Budgets = field(default_factory=NoBudgets)
    rate_limits: ports.RateLimits = field(default_factory=NoRateLimits)
    # Miss levers: what becomes of a call to Claude, in this order.
    router: call_planner.Router | None = None
    history: call_planner.History | None = None
    output_caps: call_planner.Lengths | None = None
    prompt_caching: call_planner.Prompts | None = None
    # What questions say.
    language: Language = field(default_factory=NoLanguage)
    # What is known of stored answers.
    calibrations: ports.Calibrations = field(default_factory=PriorOnly)
    outcomes: ports.Outcomes = field(default_factory=NoOutcomes)
    verifier: Verifier = field(default_factory=NoVerifier)
    # After the answer.
    escalation: ports.Escalation = field(default_factory=NoEscalation)
    learner: ports.Learner = field(default_factory=NoLearner)
    trials: call_planner.Trials | None = None
    listeners: list[Ended] = field(default_factory=list)

    def ended(self, query: Query, at: float, cost: Nanodollars | None) -> None:
        """Call the listeners with a request that has ended. They raise nothing."""
        for listener in self.listeners:
            listener(query, at, cost)
