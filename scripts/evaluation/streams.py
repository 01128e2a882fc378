"""Streams as they are, by Zipf, with near misses among them, and what a decision on them costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

from scripts.evaluation import baselines, latency, mixed, report, served, zipf
from scripts.evaluation.data import Question
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.noise import Rates
from scripts.evaluation.plan import DEFAULT, Plan
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import Embeddings
from scripts.pairs.types import Pair


class Streams:
    """The stream parts of a plan: prints each row and gives it to `keep`."""

    def __init__(
        self,
        plan: Plan,
        embeddings: Embeddings,
        keep: Callable[[report.Row | latency.Figures], None],
    ) -> None:
        self._plan = plan
        self._embeddings = embeddings
        self._keep = keep
        self._stored: served.Make = StoredVectors  # of the server's decision; baselines have all

    def run(self, streams: Mapping[str, Sequence[Question]], traps: Sequence[Pair]) -> None:
        print(report.STREAM_HEAD)
        with served.opened(self._plan.index) as self._stored:
            self._run(streams, traps)

    def _run(self, streams: Mapping[str, Sequence[Question]], traps: Sequence[Pair]) -> None:
        plan = self._plan
        for name, questions in streams.items():
            if "streams" in plan.parts:
                self._plain(name, questions)
            if "zipf" in plan.parts:
                self._targets(f"{name}, zipf", partial(self._zipf, questions))
            if "latency" in plan.parts:
                self._latency(name, questions)
            for dial in plan.dials if traps else ():
                self._targets(
                    f"{name} +{dial:.0%} traps",
                    partial(self._mixed, questions, traps, dial),
                )

    def _plain(self, name: str, questions: Sequence[Question]) -> None:
        plan = self._plan
        self._targets(name, lambda seed: self._shuffled(questions, seed))
        for noise in plan.noise:
            self._noisy(name, questions, noise)
        if plan.index != "all":
            return  # baselines compare all rows
        plain = [self._shuffled(questions, seed) for seed in plan.seeds_of(None)]
        self._each(name, "exact", None, plain, lambda t, _: baselines.exact(t))
        swept = [
            self._each(name, baselines.named(at), None, plain, _static(at))
            for at in (baselines.THRESHOLDS[::3] if plan.quick else baselines.THRESHOLDS)
        ]
        for target in plan.targets:
            kept = [row for row in swept if row.wrong <= target and row.hits]
            best = max(kept, key=lambda row: row.hits, default=None)
            said = "none" if best is None else f"{best.way}, {100 * best.hits:.1f}% hits"
            print(f"{name}: best static threshold with at most {100 * target:g}% wrong: {said}")
        self._each(name, "GPTCache 0.60", None, plain, _static(baselines.GPTCACHE))
        vcache = f"vCache {DEFAULT:.0%}"
        self._each(name, vcache, DEFAULT, plain, lambda t, seed: baselines.vcache(t, DEFAULT, seed))
        self._each(name, "perfect decision", None, plain, lambda t, _: baselines.perfect(t))

    def _noisy(self, name: str, questions: Sequence[Question], noise: tuple[float, float]) -> None:
        """At the default target, with same answers called different or left open."""
        traffics = [self._shuffled(questions, seed) for seed in self._plan.seeds_of(DEFAULT)]
        rates = Rates(same_different=noise[0], same_open=noise[1])
        settings = Settings(target=DEFAULT, noise=rates, stored=self._stored)
        way = f"ours {DEFAULT:.0%}, noise {100 * noise[0]:g}+{100 * noise[1]:g}"
        self._each(name, way, DEFAULT, traffics, _ours(settings))

    def _targets(self, name: str, traffic: Callable[[int], Traffic]) -> None:
        """The decision at every target."""
        made: dict[int, Traffic] = {}
        for target in self._plan.targets:
            seeds = self._plan.seeds_of(target)
            for seed in seeds:
                made[seed] = made.get(seed) or traffic(seed)
            chosen = [made[seed] for seed in seeds]
            way = f"ours {100 * target:g}%"
            settings = Settings(target=target, stored=self._stored)
            self._each(name, way, target, chosen, _ours(settings))

    def _each(
        self,
        name: str,
        way: str,
        target: float | None,
        traffics: Sequence[Traffic],
        decide: Callable[[Traffic, int], Outcome],
    ) -> report.Row:
        outcomes = [decide(traffic, seed) for seed, traffic in enumerate(traffics, 1)]
        made = report.row(name, way, target, outcomes)
        print(report.line(made), flush=True)
        self._keep(made)
        return made

    def _rows(self, questions: Sequence[Question], seed: int) -> list[Question]:
        rows = list(questions)
        Random(seed).shuffle(rows)
        return rows[: self._plan.rows]

    def _shuffled(self, questions: Sequence[Question], seed: int) -> Traffic:
        return prepare(self._rows(questions, seed), self._embeddings)

    def _zipf(self, questions: Sequence[Question], seed: int) -> Traffic:
        count = min(self._plan.rows, len(questions))
        return prepare(zipf.draw(questions, count, seed), self._embeddings)

    def _mixed(
        self, questions: Sequence[Question], traps: Sequence[Pair], dial: float, seed: int
    ) -> Traffic:
        rows = mixed.mix(self._rows(questions, seed), traps, dial, seed)
        return prepare(rows, self._embeddings)

    def _latency(self, name: str, questions: Sequence[Question]) -> None:
        """In a scope of half the stream, on questions of the other half."""
        plan, rows = self._plan, self._rows(questions, seed=1)
        half = len(rows) // 2
        traffic = prepare(rows[:half], self._embeddings)
        texts = [one.text for one in rows[half:]]
        replay = Replay(traffic, Settings(target=DEFAULT), 1)
        replay.run()
        made = latency.measure(name, replay, texts, self._embeddings, plan.embedder)
        print(report.latency_line(made), flush=True)
        self._keep(made)


def _ours(settings: Settings) -> Callable[[Traffic, int], Outcome]:
    return lambda traffic, seed: Replay(traffic, settings, seed).run()


def _static(threshold: float) -> Callable[[Traffic, int], Outcome]:
    return lambda traffic, _: baselines.static(traffic, threshold)
