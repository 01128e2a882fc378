"""Compares two models' answers to a question, with the cache's own comparer.

Tests without a model come first; Claude is asked last, if the tenant allows it, within the judge's
own share and cap.
"""

from __future__ import annotations

from cacheserver.calibration.answers.reader import AnswerReader, same_by_text, text_of
from cacheserver.calibration.llm_judge import Judge
from cacheserver.routing.trials import rules


class Comparer:
    """Compares whole messages."""

    def __init__(self, answers: AnswerReader, judge: Judge | None = None) -> None:
        self._answers = answers
        self._judge = judge

    async def same(
        self, tenant: str, question: str, one: bytes, other: bytes, *, judge: bool
    ) -> bool | None:
        """Return whether both say the same; None if undecided. Raises `StoreError`."""
        first, second = text_of(one), text_of(other)
        if (plain := rules.alike(first, second)) is not None:
            return plain
        read, again = await self._answers.read("", one), await self._answers.read("", other)
        same = None if read is None or again is None else same_by_text(read, again)
        if same is None and judge and self._judge is not None:
            same = await self._judge.same(tenant, question, first, second)
        return same
