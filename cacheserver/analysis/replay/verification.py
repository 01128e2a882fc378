"""Estimate of what verification would add to a replay: hits, and what calls cost and save.

Rule: an estimate changes nothing in the replay. It takes the stated error rates and the
probabilities of the candidates for true, and no model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import Step, VerificationEstimate
from cacheserver.cache.freshness import enabled_vetoes
from cacheserver.core.types import Miss, Nanodollars, Query, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.ledger.counterfactual import rescale_tokens
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.decision import judge
from cacheserver.matching.language import Language
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.prior import Prior
from cacheserver.matching.profile import Profile
from cacheserver.matching.verification import (
    DECISIVE_VETOES,
    UNMEASURED,
    ErrorRates,
    ExpectedErrors,
    askable,
)
from cacheserver.matching.verification_outcome import unsure
from cacheserver.verification import prompt

# Tokens of the instructions, and of a stored question and what JSON puts around it.
_FRAME: Final = prompt.tokens_expected(
    prompt.body_of("", {}, [prompt.Stored("", "", 0.0)], model="", now=0.0)
)
_QUESTION: Final = 30
_SCOPES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Chances:
    """Chances of what a model replies about the answers near a miss."""

    right: float  # a yes to an answer that serves
    wrong: float  # a yes to one that does not
    expected: float  # of `right`, as the server puts it when it decides whether asking pays


@dataclass(frozen=True, slots=True)
class Verification:
    """Verification of stated rates. `most_tokens`: a longer call is not made."""

    model: str
    rates: ErrorRates = UNMEASURED
    most_tokens: int = 4_000

    def estimate(
        self,
        call: Call,
        chances: Chances,
        left: Nanodollars,
        cost_of: Callable[[str, Usage, float], Nanodollars | None],
    ) -> VerificationEstimate | None:
        """Return what asking is expected to bring; None if it does not pay.

        `left` is what the answer costs otherwise. The call reads the prompt as it was billed, and a
        stored answer as long as the one given. Time is in no log, and does not count.
        """
        read = prompt_tokens(call.usage) + call.usage.output_tokens
        usage = rescale_tokens(Usage(read), call.model, self.model)
        tokens = usage.input_tokens + _FRAME + _QUESTION
        cost = cost_of(self.model, Usage(tokens, prompt.USUAL_TOKENS), call.at)
        saved = round(chances.right * left)
        if cost is None or chances.expected * left <= cost or tokens > self.most_tokens:
            return None
        return VerificationEstimate(chances.right + chances.wrong, chances.wrong, cost, saved)


@dataclass(slots=True)
class VerificationTotals:
    """Sums of estimates."""

    calls: int = 0
    hits: float = 0.0
    wrong: float = 0.0
    cost: Nanodollars = 0
    saved: Nanodollars = 0  # by right yeses, before the cost

    def add(self, step: Step) -> None:
        """Add the estimate of a step, if it has one."""
        if (found := step.verification) is not None:
            self.take(VerificationTotals(1, found.hits, found.wrong, found.cost, found.saved))

    def take(self, other: VerificationTotals) -> None:
        """Add other sums."""
        self.calls += other.calls
        self.hits += other.hits
        self.wrong += other.wrong
        self.cost += other.cost
        self.saved += other.saved


class PlausibleCandidates:
    """Chances of a yes to candidates that the decision was not sure of; without rates none.

    As in the server, a yes serves only if its posterior reaches the floor and the scope's mean of
    expected errors stays within the target.
    """

    def __init__(self, rates: ErrorRates | None, language: Language, prior: Prior) -> None:
        self._rates = rates
        self._language = language
        self._prior = prior
        self._errors: dict[tuple[str, str], ExpectedErrors] = {}

    def chances(
        self,
        query: Query,
        reason: str,
        asked: Profile,
        near: Sequence[Neighbour],
        state: Calibration,
        bar: conformal_bound.Bar,
    ) -> Chances | None:
        """Return the chances of asking about a miss, as `cache.decider` and the verifier judge.

        None if no yes would serve. `asked` is the question's profile.
        """
        target = query.tenant.bar.target
        if self._rates is None or target is None or not unsure(query, Miss(reason)):
            return None
        verdict = judge(
            asked,
            near,
            state,
            bar,
            language=self._language,
            enabled=enabled_vetoes(query.tenant.bar) & DECISIVE_VETOES,
            prior=self._prior,
        )
        open_groups = [
            c for c in verdict.candidates if c.evidence and c.evidence.group not in bar.shut
        ]
        scope = (query.tenant.name, query.scope)
        errors = self._errors.get(scope, ExpectedErrors())
        options = [
            one
            for one in askable(
                open_groups, floor=bar.floor, rates=self._rates, cold_start=state.cold_start
            )
            if errors.admits(one.posterior, target)
        ]
        if not options:
            return None
        groups = {one.id: one.group for one in near}
        best: dict[str, float] = {}
        for one in options[: prompt.MOST]:
            best[groups[one.id]] = max(best.get(groups[one.id], 0.0), one.probability)
        serves = min(1.0, sum(best.values()))
        self._errors.pop(scope, None)
        self._errors[scope] = errors.after(options[0].posterior)
        if len(self._errors) > _SCOPES:
            del self._errors[next(iter(self._errors))]
        right = serves * self._rates.sensitivity
        return Chances(right, (1 - serves) * self._rates.false_yes, expected=right)
