"""A stream through the serving decision: insert on miss, group, label, audit, refit.

What the service does with sockets and stores, in one loop; everything decided is decided by
the pure rules, and which labels carry a foil by `cacheserver.calibration.foils`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from cacheserver.calibration import foils, label_intake
from cacheserver.calibration.answers import comparison, confirmation
from cacheserver.calibration.answers.comparison import Outcome as Comparison
from cacheserver.core.evidence import Evidence
from cacheserver.languages.rules import languages
from cacheserver.matching import calibration, conformal_bound, shrinkage, verification
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.decision import ScoredCandidate, Verdict, judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.prior import MINILM, Prior
from cacheserver.matching.profile import Profile
from scripts.evaluation.data import Question
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.noise import Noise, Rates
from scripts.evaluation.vectors import Embeddings, Vectors
from scripts.evaluation.verify.step import UNSURE, Reply, Simulated, Step

TOP = 10  # neighbours looked at
_COMPARED = 5  # nearest answers compared with a fresh one, as in `calibration.worker`


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests of a stream with their vectors."""

    questions: Sequence[Question]
    vectors: Vectors
    prior: Prior = MINILM

    def __len__(self) -> int:
        return len(self.questions)


_TRUE = Rates()


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one replay: the target, and the parts that take part."""

    target: float = 0.01
    vetoes: frozenset[str] = ALL_VETOES
    top: int = TOP
    noise: Rates = _TRUE  # errors of comparing two answers; none: labels are the truth
    noise_by: Literal["pair", "answer"] = "pair"
    verifier: Simulated | None = None
    stored: Callable[[Vectors, CosineScale], StoredVectors] = StoredVectors


@dataclass(slots=True)
class Outcome:
    """Results of one replay; the lists have one item per request, in order."""

    exact: list[bool] = field(default_factory=list)  # the same text was stored: not judged
    hits: list[bool] = field(default_factory=list)  # by similarity
    wrong: list[bool] = field(default_factory=list)
    audited: list[bool] = field(default_factory=list)
    asked: list[bool] = field(default_factory=list)  # a verifying model was asked
    verified: list[bool] = field(default_factory=list)  # and its yes served
    traps: int = 0  # requests that look like another and need a different answer
    trapped: int = 0  # of these, answered from the cache
    vetoed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unsure: int = 0  # comparisons of answers that gave no label
    mislabelled: int = 0
    again: int = 0  # calls for a second opinion

    def note(
        self,
        *,
        hit: bool,
        right: bool,
        exact: bool = False,
        audited: bool = False,
        asked: bool = False,
        verified: bool = False,
    ) -> None:
        """Add the result of one request."""
        self.exact.append(exact)
        self.hits.append(hit)
        self.wrong.append(hit and not right)
        self.audited.append(audited)
        self.asked.append(asked)
        self.verified.append(verified)


def prepare(questions: Sequence[Question], embeddings: Embeddings) -> Traffic:
    """The traffic of one run."""
    return Traffic(questions, embeddings.of([a.text for a in questions]), embeddings.prior)


class Replay:
    """One scope under traffic."""

    def __init__(self, traffic: Traffic, settings: Settings, seed: int) -> None:
        self.traffic = traffic
        self.settings = settings
        self._language = languages()
        self._rng = Random(seed)
        self._profiles: dict[int, Profile] = {}
        self._noise = Noise(settings.noise, seed, settings.noise_by)
        self._texts: set[str] = set()
        self._groups: dict[int, str] = {}
        # (wrong, right) of audited hits, by entry and by group
        self._past: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        self._condemned: set[tuple[str, int]] = set()  # (question, entry)
        self.stored = settings.stored(traffic.vectors, traffic.prior.scale)
        self.state = Calibration()
        self.bar = conformal_bound.bar_for(self.state, settings.target)
        self.outcome = Outcome()
        self.step = (
            None
            if settings.verifier is None
            else Step(settings.verifier, traffic.questions, settings.target, seed)
        )

    def run(self) -> Outcome:
        for at in range(len(self.traffic)):
            self.ask(at)
        return self.outcome

    def peek(self, at: int) -> Verdict:
        """The verdict on request `at`; nothing is stored, counted or learned."""
        return self.decide(self._profile(at), self._neighbours(at))

    def served(self, at: int) -> int | None:
        """Return the entry whose answer request `at` gets; nothing is stored or learned."""
        served = self.peek(at).serve
        if served is None and (reply := self.verify(at)) is not None:
            served = reply.served
        return None if served is None else int(served.id)

    def verify(self, at: int) -> Reply | None:
        """Return what a verifying model says about request `at`; nothing is stored or learned."""
        neighbours = self._neighbours(at)
        return self._verify(at, neighbours, self.decide(self._profile(at), neighbours))

    def blame(self, at: int) -> None:
        """Tell that the answer which request `at` gets was wrong, if it gets one."""
        served = self.peek(at).serve
        if served is None or served.evidence is None:
            return
        caller = self.traffic.questions[at].caller
        self._learn(Label(served.evidence, False, 1.0, "feedback", True, "", caller=caller))
        self._condemned.add((self.traffic.questions[at].text, int(served.id)))

    def ask(self, at: int) -> None:
        """Decide on request `at`, store it on a miss, and learn."""
        one = self.traffic.questions[at]
        if one.text in self._texts:
            self.outcome.note(hit=False, right=True, exact=True)
            return
        neighbours = self._neighbours(at)
        verdict = self.decide(self._profile(at), neighbours)
        for judged in verdict.candidates:
            if judged.veto is not None:
                self.outcome.vetoed[judged.veto] += 1
        self.outcome.traps += one.trap
        if verdict.serve is not None:
            share = conformal_bound.audit_share(self.bar, verdict.serve.probability)
            self._hit(at, verdict.serve, share)
            return
        reply = self._verify(at, neighbours, verdict)
        if self.step is not None and reply is not None:
            self.step.note_reply(at, reply)
        if reply is not None and reply.served is not None:
            self._hit(at, reply.served, reply.audit_share, reply)
            return
        self.outcome.note(hit=False, right=True, asked=reply is not None and reply.called)
        nearest = next((j for j in verdict.candidates if j.evidence is not None), None)
        near = neighbours[:_COMPARED]
        if nearest is not None:
            near = near + [n for n in neighbours[_COMPARED:] if n.id == nearest.id]
        found = {n.id: self._compared(at, int(n.id)) for n in near}
        if nearest is not None:
            mine = [n for n in near if n.group == self._groups[int(nearest.id)]]
            other = self._foil(at, neighbours, found, self._groups[int(nearest.id)])
            first = comparison.majority(found[n.id] for n in mine)
            if reply is not None:
                self._observe(reply, found)
            self._label(at, nearest, mine, first, other, served=False, weight=1.0)
        self._store(at, [n for n in near if found[n.id] == "same"])

    def _verify(self, at: int, neighbours: Sequence[Neighbour], verdict: Verdict) -> Reply | None:
        """Have a model asked about a miss; None if it is not asked."""
        if self.step is None or verdict.reason not in UNSURE:
            return None
        decisive = self.settings.vetoes & verification.DECISIVE_VETOES
        again = self.decide(self._profile(at), neighbours, decisive)
        return self.step.ask(at, again.candidates, self.bar, cold_start=self.state.cold_start)

    def _observe(self, reply: Reply, found: Mapping[str, Comparison]) -> None:
        """Learn from the fresh answer of a miss whether the model's no was right."""
        assert self.step is not None
        for one in reply.asked:
            if (outcome := found.get(one.id, "open")) != "open":
                self.step.observe(yes=one.id in reply.yeses, right=outcome == "same", weight=1.0)

    def _hit(
        self, at: int, served: ScoredCandidate, share: float, reply: Reply | None = None
    ) -> None:
        """An answer from the cache, and perhaps an audit, which is a call more."""
        entry, one = int(served.id), self.traffic.questions[at]
        right = self.traffic.questions[entry].meaning == one.meaning
        audited = self._rng.random() < share
        self.outcome.note(
            hit=True,
            right=right,
            audited=audited,
            asked=reply is not None and reply.called,
            verified=reply is not None,
        )
        self.outcome.trapped += one.trap and not right
        if not audited:
            return
        stored = Neighbour(served.id, 0.0, self._groups[entry], self._profile(entry))
        first = self._compared(at, entry)
        same = self._label(at, served, [stored], first, None, served=True, weight=1 / share)
        if self.step is not None and reply is not None and same is not None:
            self.step.observe(yes=True, right=same, weight=1 / share, posterior=reply.posterior)
        if same is not None:
            for name in (f"entry {entry}", f"group {self._groups[entry]}"):
                wrong, good = self._past[name]
                self._past[name] = (wrong + (not same), good + same)
        if same is False:
            self._condemned.add((one.text, entry))

    def _neighbours(self, at: int) -> list[Neighbour]:
        text = self.traffic.questions[at].text
        return [
            self.neighbour(row, cosine)
            for row, cosine in self.stored.nearest(at, self.settings.top)
            if (text, row) not in self._condemned
        ]

    def neighbour(self, row: int, cosine: float) -> Neighbour:
        """A stored row beside a question."""
        return Neighbour(
            str(row), cosine, self._groups[row], self._profile(row), self._adjustment(row)
        )

    def _adjustment(self, row: int) -> float:
        group = self._groups[row]
        return shrinkage.adjustment(self._past[f"entry {row}"], self._past[f"group {group}"])

    def decide(
        self,
        question: Profile,
        neighbours: Sequence[Neighbour],
        enabled: frozenset[str] | None = None,
    ) -> Verdict:
        """The verdict as the service comes to it, with the vetoes of the settings or `enabled`."""
        return judge(
            question,
            neighbours,
            self.state,
            self.bar,
            language=self._language,
            enabled=self.settings.vetoes if enabled is None else enabled,
            prior=self.traffic.prior,
        )

    def _label(
        self,
        at: int,
        chosen: ScoredCandidate,
        group: Sequence[Neighbour],
        first: Comparison,
        other: Evidence | None,
        *,
        served: bool,
        weight: float,
    ) -> bool | None:
        """Learn what comparing answers tells of the pair; None where it teaches nothing."""
        assert chosen.evidence is not None
        second = None
        if confirmation.surprising(first, chosen.probability):
            self.outcome.again += 1
            second = comparison.majority(self._compared(at, int(n.id), asking=1) for n in group)
        settled = confirmation.conclude(first, chosen.probability, second)
        same = settled.right
        if same is None:
            self.outcome.unsure += 1
            return None
        questions, entry = self.traffic.questions, int(chosen.id)
        self.outcome.mislabelled += same != (questions[entry].meaning == questions[at].meaning)
        label = Label(
            evidence=chosen.evidence,
            right=same,
            weight=weight * settled.weight,
            source="audit" if served else "miss",
            served=served,
            embedder="",
            adjustment=self._adjustment(entry),
            foil=other if same else None,
            caller=questions[at].caller,
        )
        self._learn(label)
        return same

    def _learn(self, label: Label) -> None:
        if not label_intake.wanted(self.state, label):
            return
        self.state = calibration.learn(self.state, label)
        if self.state.refit_due:
            self.state = calibration.refit(self.state)
        elif self.state.review_due:
            self.state = calibration.refit_offsets(self.state)
        else:
            if label.served:
                self.bar = conformal_bound.refresh_shut_groups(self.bar, self.state)
            return
        self.bar = conformal_bound.bar_for(self.state, self.settings.target)

    def _foil(
        self,
        at: int,
        neighbours: Sequence[Neighbour],
        found: Mapping[str, Comparison],
        group: str,
    ) -> Evidence | None:
        def outcome(id: str) -> Comparison:
            return found.get(id, "open")

        return foils.of_neighbours(
            self._profile(at), neighbours, group, outcome, self._language, self.traffic.prior
        )

    def _compared(self, at: int, stored: int, *, asking: int = 0) -> Comparison:
        """Compare a fresh answer with a stored one, with the errors that comparing makes."""
        one, other = self.traffic.questions[at], self.traffic.questions[stored]
        equal = (one.answer or one.meaning) == (other.answer or other.meaning)
        truth: Comparison = "same" if equal else "different"
        return self._noise.perturbed(truth, str(at), str(stored), asking=asking)

    def _store(self, at: int, same: Sequence[Neighbour]) -> None:
        self._groups[at] = same[0].group if same else str(at)
        self.stored.add(at)
        self._texts.add(self.traffic.questions[at].text)

    def _profile(self, at: int) -> Profile:
        if at not in self._profiles:
            self._profiles[at] = self._language.profile(self.traffic.questions[at].text)
        return self._profiles[at]
