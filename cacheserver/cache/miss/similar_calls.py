"""Similar questions whose answers are under way: wait for one that would serve, then look again.

Rule: a wait decides nothing. What is stored afterwards is judged as always, so a wait for the wrong
question costs time and never gives a wrong answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from cacheserver.cache.freshness import bar_of
from cacheserver.cache.miss.questions_elsewhere import Question, QuestionsElsewhere
from cacheserver.cache.miss.shared_calls import may_share
from cacheserver.cache.miss.stand_in import close_enough, stand_in
from cacheserver.cache.ports import Decider, Metrics
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Bar, Candidate, Decision, Hit, Miss, Query
from cacheserver.matching.cosine_scale import CosineScale

# An answer of some 300 tokens takes Claude so long. Who waits in vain has lost no more than a call.
WAIT_S: Final = 8.0
_MOST: Final = 500  # questions of a scope that new ones are compared with: 0.8 MB, 0.1 ms
_NO_OUTCOMES: Final = (None, None, None)  # an answer to come has none: nothing is to be read


class SimilarCalls:
    """The questions under way, by scope: those of other tenants are in other scopes."""

    def __init__(
        self,
        decider: Decider,
        scale: CosineScale,
        *,
        clock: Callable[[], float],
        elsewhere: QuestionsElsewhere,
        metrics: Metrics,
        wait_s: float = WAIT_S,
    ) -> None:
        self._decider = decider
        self._scale = scale
        self._clock = clock
        self._wait_s = wait_s
        self._elsewhere = elsewhere
        self._metrics = metrics
        self._scopes: dict[str, dict[str, Question]] = {}  # by scope and fingerprint

    async def wait(self, query: Query, decision: Miss) -> bool:
        """Wait for an answer under way that would serve; return whether there was one.

        If not, nothing is awaited between the last comparison and the return: the caller begins its
        own question at once, so that of many that come together one goes first.
        """
        here, there = query.scope in self._scopes, self._elsewhere.any(query.scope)
        if not (here or there) or not _may_wait(query, decision):
            return False
        far = await self._of_other_servers(query) if there else []
        bar = bar_of(query.tenant, query.controls.namespace, query.label_scope)
        compared = set[Question]()
        while True:
            others = [*self._scopes.get(query.scope, {}).values(), *far]
            if any(one.fingerprint == query.fingerprint for one in others):
                return False  # the same question: it joins that call
            new = [one for one in others if one not in compared]
            if not new:
                return False
            compared.update(new)
            found = await self._serving(query, decision.vector, new, bar)
            if found is not None:
                try:
                    async with asyncio.timeout(self._wait_s):
                        await found.ended.wait()
                except TimeoutError:
                    self._elsewhere.drop(found)
                return True

    async def _of_other_servers(self, query: Query) -> list[Question]:
        """Return the questions of other servers. If they cannot be read, none is waited for."""
        try:
            return await self._elsewhere.of(query)
        except StoreError:
            self._metrics.swallowed("flights")
            return []

    @contextmanager
    def asking(self, query: Query, decision: Decision) -> Iterator[Question | None]:
        """Have others wait for the answer to this miss, until the block or its call ends."""
        question = self._begin(query, decision)
        try:
            yield question
        finally:
            if question is not None and not question.calling:
                self._end(question)

    def end_with(self, call: asyncio.Task[Any], question: Question) -> None:
        """Have a question end with its call."""
        question.calling = True
        call.add_done_callback(lambda _: self._end(question))

    def _begin(self, query: Query, decision: Decision) -> Question | None:
        if not isinstance(decision, Miss) or decision.vector is None or query.text is None:
            return None
        others = self._scopes.setdefault(query.scope, {})
        if query.fingerprint in others or len(others) >= _MOST or not may_share(query, decision):
            if not others:
                del self._scopes[query.scope]
            return None
        vector = np.asarray(decision.vector)
        question = Question(query.scope, query.fingerprint, query.text, query.actor, vector)
        others[query.fingerprint] = question
        return question

    def _end(self, question: Question) -> None:
        question.ended.set()
        others = self._scopes.get(question.scope, {})
        if others.get(question.fingerprint) is question:
            del others[question.fingerprint]
            if not others:
                del self._scopes[question.scope]

    async def _serving(
        self, query: Query, vector: Any, others: Collection[Question], bar: Bar
    ) -> Question | None:
        """Return the question whose answer would serve, by the decision on a stored one."""
        asked, now, close = list(others), self._clock(), close_enough(bar)
        cosines = np.stack([one.vector for one in asked]) @ np.asarray(vector)
        near = [
            Candidate(stand_in(query, at, asked[at].text, asked[at].actor, now), similarity)
            for at in map(int, np.argsort(-cosines)[: bar.top_k])
            if (similarity := self._scale(float(cosines[at]))) >= close
        ]
        if not near:
            return None
        read = {one.entry.id: _NO_OUTCOMES for one in near}
        match await self._decider.decide(query, near, bar, read):
            case Hit(candidate=Candidate(entry=entry)):
                return asked[int(entry.id)]
        return None


def _may_wait(query: Query, decision: Miss) -> bool:
    return (
        decision.vector is not None
        and query.text is not None
        and query.credential is None
        and not query.controls.only
        and not query.tenant.shadow  # it is asked whatever is stored
    )
