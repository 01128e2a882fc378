"""The semantic tier in memory: `cache.store.semantic` and `calibration`'s `decider` and `worker`.

The decision is the server's (`matching.decision` at the bar of `matching.conformal_bound`, or
`cache.freshness`), and what it learns too: here the logged answer is what Claude would say, so a
miss is a label, and a hit can be audited for nothing. Questions and answers cost milliseconds each
to embed: `texts` bounds how many are, and what comes after is not sought by similarity.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.seen import ReplayedRequest
from cacheserver.analysis.replay.stored_question import Found, Stored, pack_answer
from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.analysis.replay.verification import PlausibleCandidates
from cacheserver.cache.freshness import decide, enabled_vetoes
from cacheserver.calibration import foils, label_intake
from cacheserver.calibration.answers import confirmation
from cacheserver.calibration.answers.comparison import Grouped, Outcome
from cacheserver.calibration.answers.confirmation import Conclusion
from cacheserver.calibration.answers.reader import AnswerReader, ReadExchange, beside
from cacheserver.core.evidence import Evidence
from cacheserver.index.models import Vectors
from cacheserver.index.vectors import VectorIndex
from cacheserver.matching import calibration, conformal_bound, shrinkage
from cacheserver.matching.calibration import Calibration, Label, Source
from cacheserver.matching.decision import ScoredCandidate, judge
from cacheserver.matching.language import Language
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.prior import MINILM, Prior
from cacheserver.matching.profile import Profile
from cacheserver.matching.verification import ErrorRates
from cacheserver.routing.complexity_weights import EMBEDDER

_COMPARED: Final = 5  # nearest answers a fresh one is held against, as in `calibration.worker`
_PROFILES: Final = 5_000  # of texts, some 4 kB each
_CHECKED: Final = 300  # hits checked whatever the policy says; then as it says
_SCOPES: Final = 2_000  # whose calibration is remembered, those asked last
_TEND: Final = 1_000  # stored entries between two sweeps of the index


@dataclass(slots=True)
class _Scope:
    state: Calibration = field(default_factory=Calibration)
    bar: conformal_bound.Bar | None = None


class Similar:
    """Stored questions by similarity. `most` bounds them; the oldest goes first."""

    def __init__(
        self,
        embedding: Embedding,
        language: Language,
        *,
        most: int = 100_000,
        texts: int | None = None,
        prior: Prior = MINILM,
        rates: ErrorRates | None = None,
    ) -> None:
        """`texts`: the most to embed; None: all. `rates` None: verification is not estimated."""
        self._embedding = embedding
        self._language = language
        self._prior = prior
        self._most = most
        self._texts = texts
        self._random = Random(1)  # every audit of a log says the same
        self._index = VectorIndex(embedding.dim)
        self._stored: OrderedDict[str, Stored] = OrderedDict()
        self._by_id = 0
        self._scopes: OrderedDict[tuple[str, str], _Scope] = OrderedDict()
        self._past: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (wrong, right)
        self._condemned: set[tuple[str, str]] = set()  # (fingerprint, entry)
        self._profiles: OrderedDict[str, Profile] = OrderedDict()
        self._hits = 0
        self._plausible = PlausibleCandidates(rates, language, prior)
        self._answers = AnswerReader(self._embed, language, prior=prior)
        # Not `asyncio.Runner`: its signal handler formats every result, large arrays included.
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def spent(self) -> bool:
        """Return whether the limit of embedded texts is reached."""
        return self._texts is not None and self._embedding.asked >= self._texts

    def ahead(self, seen: ReplayedRequest) -> None:
        """Start embedding a question for a later `look`."""
        if seen.query.text is not None and not self.spent:
            self._embedding.ahead(seen.query.text)

    def vector(self, seen: ReplayedRequest) -> Vectors | None:
        """Return the question's vector, as the server's router uses it; None if it uses none."""
        if seen.query.text is None or not self._embedding.id.startswith(EMBEDDER):
            return None
        return self._vector(seen.query.text)

    def _vector(self, text: str) -> Vectors | None:
        if self.spent and not self._embedding.has(text):
            return None
        return self._embedding.get(text)

    def look(self, seen: ReplayedRequest, call: Call) -> Found:
        """Return the server's decision at the time of the call."""
        query = seen.query
        bar = query.tenant.bar
        if query.text is None:
            return Found(None, query.exact_only or "exact-only")
        vector = self._vector(query.text)
        if vector is None:
            return Found(None, "not-sought" if self.spent else "unreadable")
        matches = self._index.search(query.scope, vector, bar.top_k, call.at)
        near = [
            self._neighbour(self._stored[m.id], self._prior.scale(m.cosine))
            for m in matches
            if (query.fingerprint, m.id) not in self._condemned
        ]
        if not near:
            return Found(None, "empty", vector=vector)
        if bar.similarity is not None or bar.target is None:
            return self._by_hand(seen, call, near, vector)
        scope = self._scope(seen)
        if scope.bar is None:
            scope.bar = conformal_bound.bar_for(scope.state, bar.target)
        verdict = judge(
            self._profile(query.text),
            near,
            scope.state,
            scope.bar,
            language=self._language,
            enabled=enabled_vetoes(bar),
            prior=self._prior,
        )
        if verdict.serve is not None:
            return self._hit(seen, call, verdict.serve, scope.bar, vector)
        nearest = next((one for one in verdict.candidates if one.evidence is not None), None)
        reason, asked = verdict.reason, self._profile(query.text)
        chances = self._plausible.chances(query, reason, asked, near, scope.state, scope.bar)
        return Found(None, reason, vector=vector, near=near, nearest=nearest, chances=chances)

    def store(self, seen: ReplayedRequest, call: Call, found: Found, expires_at: float) -> None:
        """Store a fresh answer after a miss, and learn from its neighbours."""
        if found.vector is None or seen.query.text is None:
            return
        self._by_id += 1
        fresh = Stored(
            id=str(self._by_id),
            text=seen.query.text,
            answer=pack_answer(call.message),
            expires_at=expires_at,
            source=call.source,
            group=str(self._by_id),
        )
        if found.near:
            self._learn(seen, fresh, found)
        self._stored[fresh.id] = fresh
        self._index.add(fresh.id, seen.query.scope, found.vector, expires_at)
        if len(self._stored) > self._most:
            self._forget(next(iter(self._stored)))
        if self._by_id % _TEND == 0:
            for gone in self._index.expire(call.at):
                self._stored.pop(gone, None)
            self._index.maintain()

    def _forget(self, id: str) -> None:
        del self._stored[id]
        self._index.remove(id)

    def _by_hand(
        self, seen: ReplayedRequest, call: Call, near: Sequence[Neighbour], vector: Vectors
    ) -> Found:
        """Apply a threshold set by hand, if any, and `cache.freshness`, as the server does."""
        bar = seen.query.tenant.bar
        if bar.similarity is None or seen.query.text is None:
            return Found(None, "exact-only", vector=vector)
        selection = decide(
            self._profile(seen.query.text),
            near,
            bar.similarity,
            language=self._language,
            enabled=enabled_vetoes(bar),
        )
        served = next((one for one in near if one.id == selection.serve), None)
        if served is None:
            return Found(None, selection.reason, vector=vector)
        stored, share = self._stored[served.id], bar.audit_share or 0.0
        checked = self._checked(share)
        right = (
            self._compared(seen.query.text or "", call, stored).right
            if self._random.random() < checked
            else None
        )
        return Found(
            stored,
            selection.reason,
            right=right,
            stands_for=1 / checked,
            audit_share=share,
            vector=vector,
        )

    def _hit(
        self,
        seen: ReplayedRequest,
        call: Call,
        served: ScoredCandidate,
        bar: conformal_bound.Bar,
        vector: Vectors,
    ) -> Found:
        stored = self._stored[served.id]
        share = seen.query.tenant.bar.audit_share
        if share is None:
            share = conformal_bound.audit_share(bar, served.probability)
        checked = self._checked(share)
        right = None
        if self._random.random() < checked:
            settled = self._compared(seen.query.text or "", call, stored)
            right = settled.right
            if right is not None:
                self._teach(seen, served, right, "audit", weight=settled.weight / checked)
                self._count(stored, right)
                if not right:
                    self._condemned.add((seen.query.fingerprint, stored.id))
        return Found(
            stored,
            "probable",
            right=right,
            stands_for=1 / checked,
            audit_share=share,
            vector=vector,
        )

    def _checked(self, share: float) -> float:
        """Return the probability that this hit's answers are compared; always above 0."""
        self._hits += 1
        return max(share, min(1.0, _CHECKED / self._hits))

    def _learn(self, seen: ReplayedRequest, fresh: Stored, found: Found) -> None:
        """Compare a fresh answer with its neighbours, as the server does after a miss."""
        near = list(found.near[:_COMPARED])
        nearest = found.nearest
        if nearest is not None:
            near += [n for n in found.near[_COMPARED:] if n.id == nearest.id]
        exchange = self._read(fresh)
        if exchange is None:
            return
        others = {n.id: (n, self._read(self._stored[n.id])) for n in near if n.id in self._stored}
        grouped = {
            id: beside(exchange, other, n.group)
            for id, (n, other) in others.items()
            if other is not None
        }
        group = self._answers.group_of(exchange, list(grouped.values()))
        if nearest is not None and nearest.id in grouped:
            mine = self._stored[nearest.id].group
            first = self._answers.outcome(
                exchange, [one for one in grouped.values() if one.group == mine]
            )
            # The log holds no second answer: a surprising contradiction counts as it stands.
            settled = confirmation.conclude(first, nearest.probability)
            if settled.right is not None:
                foil = self._foil(seen, exchange, found, mine, grouped) if settled.right else None
                weight = settled.weight
                self._teach(seen, nearest, settled.right, "miss", weight=weight, foil=foil)
        fresh.group = group or fresh.group

    def _foil(
        self,
        seen: ReplayedRequest,
        exchange: ReadExchange,
        found: Found,
        group: str,
        grouped: Mapping[str, Grouped],
    ) -> Evidence | None:
        def outcome(id: str) -> Outcome:
            return self._answers.outcome(exchange, [grouped[id]]) if id in grouped else "open"

        asked = self._profile(seen.query.text or "")
        return foils.of_neighbours(asked, found.near, group, outcome, self._language, self._prior)

    def _compared(self, text: str, call: Call, stored: Stored) -> Conclusion:
        """Compare the logged answer with the stored one."""
        fresh = Stored("", text, pack_answer(call.message), 0.0, "", "")
        exchange, other = self._read(fresh), self._read(stored)
        if exchange is None or other is None:
            return Conclusion(None)
        first = self._answers.outcome(exchange, [beside(exchange, other, stored.group)])
        return confirmation.conclude(first, None)

    def _read(self, stored: Stored) -> ReadExchange | None:
        if stored.exchange is None and stored.answer is not None:
            message = zlib.decompress(stored.answer)
            stored.exchange = self._loop.run_until_complete(
                self._answers.read(stored.text, message)
            )
            stored.answer = None if stored.exchange is None else stored.answer
        return stored.exchange

    async def _embed(self, text: str) -> Vectors | None:
        return self._vector(text)

    def _teach(
        self,
        seen: ReplayedRequest,
        chosen: ScoredCandidate,
        right: bool,
        source: Source,
        *,
        weight: float,
        foil: Evidence | None = None,
    ) -> None:
        assert chosen.evidence is not None
        adjustment = self._adjustment(self._stored[chosen.id])
        label = Label(
            evidence=chosen.evidence,
            right=right,
            weight=weight,
            source=source,
            served=source == "audit",
            embedder="",
            adjustment=adjustment,
            foil=foil,
            caller=seen.query.caller,
        )
        scope, target = self._scope(seen), seen.query.tenant.bar.target
        if not label_intake.wanted(scope.state, label):
            return
        scope.state = calibration.learn(scope.state, label)
        if scope.state.refit_due:
            scope.state = calibration.refit(scope.state)
        elif scope.state.review_due:
            scope.state = calibration.refit_offsets(scope.state)
        else:
            if label.served and scope.bar is not None:
                scope.bar = conformal_bound.refresh_shut_groups(scope.bar, scope.state)
            return
        scope.bar = None if target is None else conformal_bound.bar_for(scope.state, target)

    def _count(self, stored: Stored, right: bool) -> None:
        for name in (f"entry {stored.id}", f"group {stored.group}"):
            wrong, good = self._past.pop(name, (0.0, 0.0))
            self._past[name] = (wrong + (not right), good + right)
            if len(self._past) > self._most:
                self._past.popitem(last=False)

    def _adjustment(self, stored: Stored) -> float:
        nothing = (0.0, 0.0)
        return shrinkage.adjustment(
            self._past.get(f"entry {stored.id}", nothing),
            self._past.get(f"group {stored.group}", nothing),
        )

    def _neighbour(self, stored: Stored, cosine: float) -> Neighbour:
        return Neighbour(
            stored.id, cosine, stored.group, self._profile(stored.text), self._adjustment(stored)
        )

    def _profile(self, text: str) -> Profile:
        found = self._profiles.get(text)
        if found is None:
            found = self._profiles[text] = self._language.profile(text)
            if len(self._profiles) > _PROFILES:
                self._profiles.popitem(last=False)
        return found

    def _scope(self, seen: ReplayedRequest) -> _Scope:
        key = (seen.query.tenant.name, seen.query.scope)
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = _Scope()
            if len(self._scopes) > _SCOPES:
                self._scopes.popitem(last=False)
        self._scopes.move_to_end(key)
        return scope
