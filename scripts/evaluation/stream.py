"""A stream through the serving decision: insert on miss, group, label, audit, refit.

What the service does with sockets and stores, in one loop; everything decided is decided by
`cacheserver.policy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from cacheserver.policy import bound, calibrate, compare, lexicon, vetoes
from cacheserver.policy.calibrate import Calibration, Label
from cacheserver.policy.judge import Ask, Judged, Verdict, judge
from cacheserver.policy.neighbours import Neighbour
from cacheserver.policy.profile import Profile, read
from scripts.evaluation import answers
from scripts.evaluation.data import Asked
from scripts.evaluation.scores import Scores
from scripts.evaluation.vectors import Embeddings, Vectors

TOP = 10  # neighbours looked at


@dataclass(frozen=True, slots=True)
class Traffic:
    """A stream made ready: what is asked, what the upstream would answer."""

    asked: Sequence[Asked]
    vectors: Vectors
    answers: Sequence[str]
    answer_vectors: Vectors

    def __len__(self) -> int:
        return len(self.asked)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator would set, and which parts take part."""

    target: float = 0.01
    vetoes: frozenset[str] = frozenset(vetoes.VETOES)
    top: int = TOP


@dataclass(slots=True)
class Outcome:
    """What happened to each request, in order."""

    hits: list[bool] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)
    audited: list[bool] = field(default_factory=list)
    asked: int = 0  # pairs that the verifier read
    vetoed: dict[str, int] = field(default_factory=dict)
    bars: list[bound.Bar] = field(default_factory=list)
    unsure: int = 0  # comparisons of answers that gave no label
    mislabelled: int = 0


def prepare(asked: Sequence[Asked], embeddings: Embeddings, seed: int) -> Traffic:
    """The traffic of one run; the wording of each answer is drawn by `seed`."""
    rng = Random(seed)
    told = [answers.answer(a.meaning, a.topic, rng.randrange(answers.WORDINGS)) for a in asked]
    return Traffic(asked, embeddings.of([a.text for a in asked]), told, embeddings.of(told))


class Replay:
    """One scope under traffic."""

    def __init__(
        self, traffic: Traffic, settings: Settings, scores: Scores | None, seed: int
    ) -> None:
        self._traffic = traffic
        self._settings = settings
        self._scores = scores
        self._lexicon = lexicon.standard()
        self._rng = Random(seed)
        self._profiles: dict[int, Profile] = {}
        self._answers: dict[int, Profile] = {}
        self._stored: list[int] = []
        self._groups: dict[int, str] = {}
        self._surprise: dict[int, calibrate.Record] = {}
        self.state = Calibration()
        self.bar = bound.bar_for(self.state, settings.target)
        self.outcome = Outcome()

    def run(self) -> Outcome:
        for at in range(len(self._traffic)):
            self._ask(at)
        return self.outcome

    def _ask(self, at: int) -> None:
        neighbours = self._neighbours(at)
        verdict = self._decide(at, neighbours)
        best = next((j for j in verdict.judged if j.evidence is not None), None)
        chosen = verdict.serve or best
        served = verdict.serve is not None
        share = 1.0
        if verdict.serve is not None:
            share = bound.audit_share(self.bar, verdict.serve.probability)
        # What a miss tells costs nothing; an audit is a call more.
        fresh = not served or self._rng.random() < share
        outcome, asked = self.outcome, self._traffic.asked
        right = chosen is not None and asked[int(chosen.id)].meaning == asked[at].meaning
        outcome.hits.append(served)
        outcome.wrong.append(served and not right)
        outcome.audited.append(served and fresh)
        outcome.bars.append(self.bar)
        for judged in verdict.judged:
            if judged.veto is not None:
                outcome.vetoed[judged.veto] = outcome.vetoed.get(judged.veto, 0) + 1
        if fresh:
            if chosen is not None:
                self._label(at, chosen, neighbours, right, served=served, weight=1 / share)
            self._store(at, neighbours)

    def _neighbours(self, at: int) -> list[Neighbour]:
        if not self._stored:
            return []
        vectors = self._traffic.vectors
        stored = np.array(self._stored)
        near: NDArray[np.float32] = vectors[stored] @ vectors[at]
        top = min(self._settings.top, len(stored))
        rows = np.argpartition(-near, top - 1)[:top]
        rows = rows[np.argsort(-near[rows], kind="stable")]
        return [
            Neighbour(
                str(stored[row]),
                float(near[row]),
                self._groups[int(stored[row])],
                self._profile(int(stored[row])),
                self._surprise.get(int(stored[row]), calibrate.Record()).adjustment,
            )
            for row in rows
        ]

    def _decide(self, at: int, neighbours: Sequence[Neighbour]) -> Verdict:
        scores: dict[str, float] = {}
        while True:
            step = judge(
                self._profile(at),
                neighbours,
                None if self._scores is None else scores,
                self.state,
                self.bar.level,
                lexicon=self._lexicon,
                enabled=self._settings.vetoes,
            )
            match step:
                case Ask(id, both):
                    assert self._scores is not None
                    texts = self._traffic.asked[int(id)].text, self._traffic.asked[at].text
                    scores[id] = self._scores.of(*texts, both=both)
                    self.outcome.asked += 1
                case Verdict():
                    return step

    def _label(
        self,
        at: int,
        chosen: Judged,
        neighbours: Sequence[Neighbour],
        truth: bool,
        *,
        served: bool,
        weight: float,
    ) -> None:
        assert chosen.evidence is not None
        entry = int(chosen.id)
        group = self._groups[entry]
        same = compare.verdict(self._answer(at), self._grouped(at, neighbours, group))
        if same is None:
            self.outcome.unsure += 1
            return
        self.outcome.mislabelled += same != truth
        before = self._surprise.get(entry, calibrate.Record())
        source: calibrate.Source = "audit" if served else "miss"
        label = Label(chosen.evidence, same, weight, source, served, "", "", before.adjustment)
        self.state = calibrate.learn(self.state, label)
        told = calibrate.probability(self.state, chosen.evidence)
        self._surprise[entry] = calibrate.surprised(before, same, told)
        if self.state.due:
            self.state = calibrate.refit(self.state)
            self.bar = bound.bar_for(self.state, self._settings.target, self.bar)

    def _store(self, at: int, neighbours: Sequence[Neighbour]) -> None:
        group = compare.assign(self._answer(at), self._grouped(at, neighbours, None))
        self._groups[at] = group or str(at)
        self._stored.append(at)

    def _grouped(
        self, at: int, neighbours: Sequence[Neighbour], group: str | None
    ) -> list[compare.Grouped]:
        vectors = self._traffic.answer_vectors
        return [
            compare.Grouped(
                n.group, float(vectors[int(n.id)] @ vectors[at]), self._answer(int(n.id))
            )
            for n in neighbours
            if group is None or n.group == group
        ]

    def _profile(self, at: int) -> Profile:
        if at not in self._profiles:
            self._profiles[at] = read(self._traffic.asked[at].text, self._lexicon)
        return self._profiles[at]

    def _answer(self, at: int) -> Profile:
        if at not in self._answers:
            self._answers[at] = read(self._traffic.answers[at], self._lexicon)
        return self._answers[at]


Summary = Mapping[str, float]
