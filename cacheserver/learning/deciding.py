"""The decision on what came near: a threshold set by hand, or a probability held to a target."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from cacheserver.errors import StoreError
from cacheserver.learning.states import States
from cacheserver.policy import bound, corroboration, profile, vetoes
from cacheserver.policy.calibrate import Calibration
from cacheserver.policy.decide import decide, fresh
from cacheserver.policy.judge import Ask, Judged, Verdict, judge
from cacheserver.policy.lexicon import Lexicon
from cacheserver.policy.neighbours import Neighbour
from cacheserver.policy.prior import both_orders
from cacheserver.policy.profile import Profile
from cacheserver.policy.shrinkage import adjustment
from cacheserver.ports import Metrics
from cacheserver.stores.labels import Labels, Past
from cacheserver.types import Bar, Candidate, Hit, Miss, Query

Score: TypeAlias = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[float]]]

_PROFILES = 5_000  # texts whose profiles are kept, some 3 kB each
_STRENGTH = 2.0  # right ones that weigh up half of a wrong one


class Decider:
    """Decides on candidates. Whatever of ours fails on the way is a miss, and counted."""

    def __init__(
        self,
        *,
        states: States,
        labels: Labels,
        score: Score | None,
        lexicon: Lexicon,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._states = states
        self._labels = labels
        self._score = score
        self._lexicon = lexicon
        self._metrics = metrics
        self._clock = clock
        self._profiles: OrderedDict[str, Profile] = OrderedDict()

    async def decide(self, query: Query, found: Sequence[Candidate], bar: Bar) -> Hit | Miss:
        """The candidate whose answer may be served, or why none may."""
        live = [c for c in found if fresh(c.entry, query.controls, self._clock())]
        if not live:
            return Miss("empty")
        try:
            live, pasts = await self._past(query, live)
            if not live:
                return Miss("condemned")
            may = [c for c in live if corroboration.may_serve(query, c)]
            # Where none may serve, what would is judged all the same: it is learned from.
            decision = await self._clearing(query, may or live, pasts, bar)
        except StoreError:
            self._metrics.swallowed("decide")
            return Miss("degraded")
        if isinstance(decision, Miss):
            return replace(decision, neighbours=live)
        if not may:
            return Miss(
                "uncorroborated",
                decision.candidate,
                neighbours=live,
                level=decision.level,
                basis=decision.basis,
            )
        return decision

    async def _clearing(
        self, query: Query, live: Sequence[Candidate], pasts: Mapping[str, Past], bar: Bar
    ) -> Hit | Miss:
        """The candidate that clears the bar, or why none does."""
        if bar.target is not None:
            return await self._judge(query, live, pasts, bar, bar.target)
        decision = decide(_lowered(live, pasts), bar, query.controls, self._clock())
        if isinstance(decision, Hit):
            return replace(decision, audit_share=bar.audit_share or 0.0)
        return decision

    async def pair(self, one: str, other: str, similarity: float) -> float:
        """The prior's probability that one answer serves both, the verifier asked; vetoes are 0."""
        asked = profile.read(one, self._lexicon)
        neighbour = Neighbour("", similarity, "", self._profile(other))
        scores = None
        if self._score is not None:
            found = await self._score([(one, other), (other, one)])
            scores = {"": both_orders(found)}
        step = judge(
            asked,
            [neighbour],
            scores,
            Calibration(),
            1.0,
            lexicon=self._lexicon,
            enabled=frozenset(vetoes.VETOES),
        )
        return step.judged[0].probability if isinstance(step, Verdict) else 0.0

    async def _past(
        self, query: Query, live: Sequence[Candidate]
    ) -> tuple[list[Candidate], Mapping[str, Past]]:
        """Those never condemned for this question, and what became of each for others."""
        refs = [(c.entry.id, c.group or c.entry.id) for c in live]
        pasts = await self._labels.past(query.tenant.name, query.fingerprint, refs)
        return [c for c in live if not pasts[c.entry.id].condemned], pasts

    async def _judge(
        self,
        query: Query,
        live: Sequence[Candidate],
        pasts: Mapping[str, Past],
        bar: Bar,
        target: float,
    ) -> Hit | Miss:
        """The verdict by probability; the verifier is asked where cheap evidence is not enough."""
        tenant = query.tenant.name
        state, needed = await self._states.barred(tenant, query.scope, target)
        level, basis = needed.level, needed.basis
        if basis == "closed":
            return Miss("closed", live[0], neighbours=live, level=level, basis=basis)
        asked = profile.read(query.text or "", self._lexicon)
        by_id = {c.entry.id: c for c in live}
        neighbours = [
            Neighbour(
                id=c.entry.id,
                similarity=c.similarity,
                group=c.group or c.entry.id,
                profile=self._profile(c.entry.text or ""),
                adjustment=adjustment(pasts[c.entry.id].entry, pasts[c.entry.id].group),
            )
            for c in live
        ]
        enabled = frozenset(vetoes.VETOES) - frozenset(bar.vetoes_off)
        scores: dict[str, float] | None = None if self._score is None else {}
        while True:
            step = judge(
                asked,
                neighbours,
                scores,
                state,
                level,
                lexicon=self._lexicon,
                enabled=enabled,
            )
            if isinstance(step, Verdict):
                break
            assert scores is not None  # a judge without a verifier asks for nothing
            scores[step.id] = await self._verify(query, by_id[step.id], step)
        past = {neighbour.id: neighbour.adjustment for neighbour in neighbours}
        judged = [_with(by_id[one.id], one, past[one.id]) for one in step.judged]
        for one in judged:
            if one.veto is not None:
                self._metrics.vetoed(one.veto)
        if step.serve is not None:
            served = _with(by_id[step.serve.id], step.serve, past[step.serve.id])
            share = bar.audit_share
            if share is None:
                share = bound.audit_share(needed, step.serve.probability)
            return Hit(served, "semantic", "probable", level, basis, audit_share=share)
        reason = "vetoed" if all(one.veto for one in judged) else "below-bar"
        return Miss(reason, judged[0], neighbours=live, level=level, basis=basis)

    async def _verify(self, query: Query, candidate: Candidate, ask: Ask) -> float:
        """The verifier's score, both orders averaged where asked. One that fails says no."""
        one, other = query.text or "", candidate.entry.text or ""
        pairs = [(one, other), (other, one)] if ask.both else [(one, other)]
        assert self._score is not None
        try:
            found = await self._score(pairs)
        except StoreError:
            self._metrics.swallowed("verifier")
            return 0.0
        return both_orders(found)

    def _profile(self, text: str) -> Profile:
        """The profile of a stored question, which comes up again and again."""
        found = self._profiles.get(text)
        if found is None:
            found = self._profiles[text] = profile.read(text, self._lexicon)
            if len(self._profiles) > _PROFILES:
                self._profiles.popitem(last=False)
        return found


def _with(candidate: Candidate, judged: Judged, adjustment: float) -> Candidate:
    return replace(
        candidate,
        evidence=judged.evidence,
        probability=judged.probability,
        veto=judged.veto,
        adjustment=adjustment,
    )


def _lowered(live: Sequence[Candidate], pasts: Mapping[str, Past]) -> list[Candidate]:
    """Each wrong hit doubles what an entry lacks of a cosine of 1: its bar by hand rises."""
    lowered: list[Candidate] = []
    for one in live:
        wrong, right = pasts[one.entry.id].entry
        doubled = 2 ** (wrong / (1 + right / _STRENGTH)) - 1
        lowered.append(replace(one, similarity=one.similarity - (1 - one.similarity) * doubled))
    return lowered
