"""The decision on similar entries: by a threshold set by hand, or by a probability."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cacheserver.cache import corroboration
from cacheserver.cache.freshness import decide, enabled_vetoes, fresh
from cacheserver.cache.ports import NOTHING_READ, Calibrations, Metrics, Outcomes, Read
from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Bar, Candidate, Hit, Miss, Query
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.decision import ScoredCandidate, judge
from cacheserver.matching.language import ALL_VETOES, Language
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.prior import MINILM, Prior
from cacheserver.matching.profile import Profile
from cacheserver.matching.shrinkage import EntryRecord, adjustment
from cacheserver.matching.verification import DECISIVE_VETOES
from cacheserver.matching.verification_outcome import Plausible

logger = logging.getLogger(__name__)

_PROFILES_BYTES = 16 * 2**20  # of profiles kept: those of some 3,000 questions
_PROFILE_BYTES, _CHAR_BYTES = 4_000, 30  # of one, measured: 4 kB of 26 characters, 33 kB of 1,180
_SHORT = 2_000  # characters: no model reads more of them, and they take half a millisecond
_STRENGTH = 2.0  # right ones that weigh up half of a wrong one


class Decider:
    """Decides on candidates. Whatever of ours fails on the way is a miss, and counted."""

    def __init__(
        self,
        *,
        states: Calibrations,
        labels: Outcomes,
        language: Language,
        metrics: Metrics,
        clock: Callable[[], float],
        prior: Prior = MINILM,
    ) -> None:
        self._states = states
        self._labels = labels
        self._language = language
        self._metrics = metrics
        self._clock = clock
        self._prior = prior
        self._profiles = LruBytes[str, Profile](_PROFILES_BYTES)

    async def decide(
        self,
        query: Query,
        found: Sequence[Candidate],
        bar: Bar,
        read: Read = NOTHING_READ,
    ) -> Hit | Miss:
        """The candidate whose answer may be served, or why none may. `found` is nearest first.

        `read`: what was read of their outcomes. Raises nothing: a decision that fails is a miss,
        `degraded`.
        """
        try:
            return await self._decide(query, found, bar, read)
        except StoreError:
            self._metrics.swallowed("decide")
        except Exception as error:  # our own failure: doubt is a miss, and no request fails
            self._metrics.swallowed("decide")
            logger.error("a decision failed: %s", type(error).__name__)
        return Miss("degraded")

    async def _decide(
        self, query: Query, found: Sequence[Candidate], bar: Bar, read: Read
    ) -> Hit | Miss:
        live = [c for c in found if fresh(c.entry, query.controls, self._clock())]
        if not live:
            return Miss("empty")
        live, pasts = await self._past(query, live, read)
        if not live:
            return Miss("condemned")
        may = [c for c in live if corroboration.may_serve(query, c)]
        # If none may be served, the one that would be is judged all the same, to learn from it.
        decision = await self._clearing(query, may or live, pasts, bar)
        judged = {one.entry.id: one for one in decision.neighbours}
        shown = [judged.get(c.entry.id, c) for c in live]
        if may or isinstance(decision, Miss):
            return replace(decision, neighbours=shown)
        would = decision.candidate
        return Miss("uncorroborated", would, shown, level=decision.level, basis=decision.basis)

    async def plausible(self, query: Query, decision: Miss, bar: Bar) -> Plausible | None:
        """Judge a miss again with the decisive vetoes alone; None if nothing may be asked about.

        Raises nothing.
        """
        try:
            return await self._plausible(query, decision, bar)
        except StoreError:
            self._metrics.swallowed("verify-store")
        except Exception as error:  # our own failure: no request fails of it
            self._metrics.swallowed("verify")
            logger.error("candidates for verification failed: %s", type(error).__name__)
        return None

    async def _plausible(self, query: Query, decision: Miss, bar: Bar) -> Plausible | None:
        found = [c for c in decision.neighbours if corroboration.may_serve(query, c)]
        if not found or bar.target is None or bar.similarity is not None:
            return None
        state, needed = await self._states.with_bar(
            query.tenant.name, query.label_scope, bar.target
        )
        decisive = enabled_vetoes(bar) & DECISIVE_VETOES
        verdict = judge(
            self._profile(query.text or ""),
            [self._neighbour(one, one.adjustment) for one in found],
            state,
            needed,
            language=self._language,
            enabled=decisive,
            prior=self._prior,
        )
        left = [c for c in verdict.candidates if c.evidence and c.evidence.group not in needed.shut]
        return Plausible(left, needed.floor, bar.target, state.cold_start) if left else None

    def prepare(self, query: Query) -> None:
        """Read the question of a decision to come: it may be embedded meanwhile. Raises nothing."""
        if query.text is not None and len(query.text) <= _SHORT:
            with contextlib.suppress(Exception):  # the decision fails of it again, and counts it
                self._profile(query.text)

    def forget(self) -> None:
        """Drop the profiles of stored questions, which hold their words."""
        self._profiles.clear()

    def _neighbour(self, one: Candidate, adjustment: float) -> Neighbour:
        return Neighbour(
            id=one.entry.id,
            similarity=one.similarity,
            group=one.group or one.entry.id,
            profile=self._profile(one.entry.text or ""),
            adjustment=adjustment,
            preferred=one.pinned,
        )

    async def _clearing(
        self, query: Query, live: Sequence[Candidate], pasts: Mapping[str, EntryRecord], bar: Bar
    ) -> Hit | Miss:
        """The candidate that clears the bar, or why none does."""
        if bar.similarity is not None:
            return self._by_threshold(query, live, bar, bar.similarity)
        if bar.target is not None:
            return await self._judge(query, live, pasts, bar, bar.target)
        return Miss("exact-only")

    async def _past(
        self, query: Query, live: Sequence[Candidate], read: Read
    ) -> tuple[list[Candidate], Mapping[str, EntryRecord]]:
        """Return the candidates never judged wrong for this question, and all outcomes."""
        refs = [(c.entry.id, c.group or c.entry.id) for c in live]
        pasts = await self._labels.past(query.tenant.name, query.fingerprint, refs, read)
        fit = [c for c in live if not pasts[c.entry.id].condemned]
        return [_penalised(c, pasts[c.entry.id]) for c in fit], pasts

    def _by_threshold(
        self, query: Query, live: Sequence[Candidate], bar: Bar, threshold: float
    ) -> Hit | Miss:
        """The verdict by a threshold set by hand: no probability is asked for, vetoes hold."""
        neighbours = [
            Neighbour(
                id=c.entry.id,
                similarity=c.similarity - c.penalty,
                group=c.group or c.entry.id,
                profile=self._profile(c.entry.text or ""),
                preferred=c.pinned,
            )
            for c in live
        ]
        selection = decide(
            self._profile(query.text or ""),
            neighbours,
            threshold,
            language=self._language,
            enabled=enabled_vetoes(bar),
        )
        vetoes = selection.vetoes
        shown = [replace(c, veto=v) if (v := vetoes.get(c.entry.id)) else c for c in live]
        for one in shown:
            if one.veto is not None and one.similarity - one.penalty >= threshold:
                self._metrics.vetoed(one.veto)
        for one in shown:
            if one.entry.id == selection.serve:
                share = bar.audit_share or 0.0
                return Hit(one, "semantic", selection.reason, audit_share=share, neighbours=shown)
        likeliest = next((one for one in shown if one.veto is None), shown[0])
        return Miss(selection.reason, likeliest, shown)

    async def _judge(
        self,
        query: Query,
        live: Sequence[Candidate],
        pasts: Mapping[str, EntryRecord],
        bar: Bar,
        target: float,
    ) -> Hit | Miss:
        """The verdict by probability."""
        tenant = query.tenant.name
        state, needed = await self._states.with_bar(tenant, query.label_scope, target)
        level, basis = needed.level, needed.basis
        if basis == "closed":
            return Miss("closed", live[0], neighbours=live, level=level, basis=basis)
        question = self._profile(query.text or "")
        by_id = {c.entry.id: c for c in live}
        neighbours = [
            self._neighbour(c, adjustment(pasts[c.entry.id].entry, pasts[c.entry.id].group))
            for c in live
        ]
        verdict = judge(
            question,
            neighbours,
            state,
            needed,
            language=self._language,
            enabled=enabled_vetoes(bar),
            prior=self._prior,
        )
        past = {neighbour.id: neighbour.adjustment for neighbour in neighbours}
        for one in verdict.candidates:
            by_id[one.id] = _with(by_id[one.id], one, past[one.id])
            if one.veto is not None:
                self._metrics.vetoed(one.veto)
        shown = list(by_id.values())  # in the order of `live`: the most similar first
        if verdict.serve is not None:
            share = bar.audit_share
            if share is None:
                share = conformal_bound.audit_share(needed, verdict.serve.probability)
            return Hit(
                by_id[verdict.serve.id],
                "semantic",
                verdict.reason,
                level,
                basis,
                audit_share=share,
                neighbours=shown,
            )
        return Miss(
            verdict.reason, by_id[verdict.candidates[0].id], shown, level=level, basis=basis
        )

    def _profile(self, text: str) -> Profile:
        """The profile of a question: a stored one comes up again and again."""
        found = self._profiles.get(text)
        if found is None:
            found = self._language.profile(text)
            self._profiles.put(text, found, _PROFILE_BYTES + _CHAR_BYTES * len(text))
        return found


def judge_pair(
    language: Language, prior: Prior, one: str, other: str, similarity: float
) -> ScoredCandidate:
    """Judge two questions by the prior, all vetoes on."""
    verdict = judge(
        language.profile(one),
        [Neighbour("", similarity, "", language.profile(other))],
        Calibration(),
        conformal_bound.UNREACHED,
        language=language,
        enabled=ALL_VETOES,
        prior=prior,
    )
    return verdict.candidates[0]


def _with(candidate: Candidate, judged: ScoredCandidate, adjustment: float) -> Candidate:
    return replace(
        candidate,
        evidence=judged.evidence,
        probability=None if judged.veto is not None else judged.probability,
        veto=judged.veto,
        supported=judged.supported,
        adjustment=adjustment,
    )


def _penalised(candidate: Candidate, past: EntryRecord) -> Candidate:
    """Each wrong hit doubles what an entry lacks of a cosine of 1: its bar by hand rises."""
    wrong, right = past.entry
    if not wrong:
        return candidate
    doubled = 2 ** (wrong / (1 + right / _STRENGTH)) - 1
    return replace(candidate, penalty=(1 - candidate.similarity) * doubled)
