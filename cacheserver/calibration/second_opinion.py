"""Second opinion on a comparison of answers: of the judge, or of one more fresh answer.

Rule: it is taken if the first comparison is open (of the judge alone, for a share of these), or
contradicts a decision that was sure. `calibration.answers.confirmation` draws the conclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.cache.ports import Metrics
from cacheserver.calibration.answers import confirmation
from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.calibration.answers.confirmation import Conclusion
from cacheserver.calibration.answers.reader import AnswerReader, ReadExchange, beside, text_of
from cacheserver.calibration.audits import Auditor
from cacheserver.calibration.llm_judge import Judge
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import Candidate, Entry, Query


@dataclass(frozen=True, slots=True)
class Compared:
    """Fresh answer compared with a candidate's."""

    query: Query
    candidate: Candidate
    group: Sequence[ReadExchange]  # the available answers of the candidate's group
    message: bytes  # the fresh answer
    like: Entry  # of the model and about the cost of the fresh answer


class SecondOpinion:
    """Draws the conclusion of a comparison."""

    def __init__(
        self, *, answers: AnswerReader, auditor: Auditor, judge: Judge | None, metrics: Metrics
    ) -> None:
        self._answers = answers
        self._auditor = auditor
        self._judge = judge
        self._metrics = metrics

    async def conclude(self, first: Outcome, compared: Compared) -> Conclusion:
        """Return the conclusion of a comparison, with a second opinion if one is needed.

        Raises `StoreError`.
        """
        probability = compared.candidate.probability
        if first == "open":
            same = await self._judged(compared, always=False)
            share = 1.0 if self._judge is None else self._judge.share
            return Conclusion(same, 1.0 if same is None else 1 / share)
        second: Outcome | None = None
        if confirmation.surprising(first, probability):
            same = await self._judged(compared, always=True)
            second = await self._judge_again(compared) if same is None else _outcome(same)
        return confirmation.conclude(first, probability, second)

    async def _judged(self, compared: Compared, *, always: bool) -> bool | None:
        """Ask the judge if the two answers are the same; None if it was not asked."""
        if self._judge is None:
            return None
        query = compared.query
        one, other = text_of(compared.candidate.entry.message), text_of(compared.message)
        return await self._judge.same(
            query.tenant.name, query.text or "", one, other, always=always
        )

    async def _judge_again(self, compared: Compared) -> Outcome | None:
        """Compare one more fresh answer; None if there was none."""
        query = compared.query
        try:
            message = await self._auditor.ask(query, compared.like, count="audits_again")
        except UpstreamError:
            self._metrics.swallowed("audit-again")
            return None
        fresh = None
        if message is not None:
            fresh = await self._answers.read(query.text or "", message)
        if fresh is None:
            return None
        return self._answers.outcome(fresh, [beside(fresh, other, "") for other in compared.group])


def _outcome(same: bool) -> Outcome:
    return "same" if same else "different"
