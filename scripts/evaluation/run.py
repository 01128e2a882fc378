"""The whole evaluation: pairs, streams, streams with traps, logs; every baseline beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from scripts.evaluation import (
    baselines,
    data,
    folds,
    latency,
    logs,
    mixed,
    pairs,
    prose,
    report,
    zipf,
)
from scripts.evaluation.scores import Scores
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import CACHE, Embeddings
from scripts.pairs.types import Pair

PARTS = ("pairs", "streams", "zipf", "traps", "logs", "prose", "latency")
TARGETS = (0.01, 0.02, 0.05, 0.10)
DEFAULT = 0.01
PAIRS = 2_500  # of a larger set every n-th; more change no figure by two points


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    data: Path
    embedder: Path
    verifier: Path | None = None
    unseen: Path | None = None  # a verifier that never read templated sets, for their folds
    only: str | None = None
    quick: bool = False
    json: Path | None = None
    rows: int = 10_003  # of a stream: all of Banking77's train split
    seeds: int = 5
    other_seeds: int = 2  # of targets other than the default, and of baselines
    parts: tuple[str, ...] = PARTS
    targets: tuple[float, ...] = TARGETS
    dials: tuple[float, ...] = mixed.DIALS
    cache: Path = CACHE  # of vectors and scores, from one run to the next

    def shortened(self) -> Plan:
        """The plan of `--quick`: under a minute once the model is exported."""
        if not self.quick:
            return self
        return replace(
            self,
            rows=min(self.rows, 1_500),
            seeds=1,
            other_seeds=1,
            targets=self.targets[:1],
            dials=self.dials[1:2],
        )


class Evaluation:
    """A plan at work: prints as it goes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan = plan.shortened()
        self._folder = data.read(plan.data, plan.only)
        self._embeddings = Embeddings(plan.embedder, plan.cache)
        self._scores = None if plan.verifier is None else Scores(plan.verifier, plan.cache)
        self.found = report.Found([], [], [], [])

    def run(self) -> report.Found:
        parts = self._plan.parts
        if "pairs" in parts and self._folder.pairs:
            self._pairs()
        if {"streams", "zipf", "traps", "latency"} & set(parts) and self._folder.streams:
            self._streams()
        if "logs" in parts:
            self._logs()
        if "prose" in parts:
            self._prose()
        self._save()
        return self.found

    # Pairs

    def _pairs(self) -> None:
        print(report.PAIR_HEAD)
        for name, listed in self._folder.pairs.items():
            step = max(1, len(listed) // (300 if self._plan.quick else PAIRS))
            if pairs.judgeable(chosen := listed[::step]):
                for made in self._pair_figures(name, chosen):
                    self.found.pairs.append(made)
                    print(report.pair_line(made), flush=True)
            self._save()

    def _pair_figures(self, name: str, listed: Sequence[Pair]) -> Iterator[pairs.Figures]:
        near = pairs.cosines(listed, self._embeddings)
        yield pairs.threshold(name, listed, near)
        yield pairs.replay(name, "words", listed, near, None, DEFAULT)
        if self._scores is not None:
            yield pairs.replay(name, "words and verifier", listed, near, self._scores, DEFAULT)
        fitted_on = self._plan.data / "qqp" / "train.tsv"
        if "checklist" in name and fitted_on.exists() and not self._plan.quick:
            yield self._by_folds(name, "words, by folds", listed, None)
            if self._plan.unseen is not None:
                scores = Scores(self._plan.unseen, self._plan.cache)
                yield self._by_folds(name, "and verifier, by folds", listed, scores)
                scores.save()

    def _by_folds(
        self, name: str, way: str, listed: Sequence[Pair], scores: Scores | None
    ) -> pairs.Figures:
        made = folds.Folds(self._plan.data, self._embeddings, scores)
        return made.replay(name, way, listed)

    # Streams

    def _streams(self) -> None:
        plan = self._plan
        print(report.STREAM_HEAD)
        traps = mixed.traps(data.read(plan.data).pairs) if "traps" in plan.parts else []
        for name, asked in self._folder.streams.items():
            if "streams" in plan.parts:
                self._plain(name, asked)
            if "zipf" in plan.parts:
                self._targets(f"{name}, zipf", partial(self._zipf, asked))
            if "latency" in plan.parts:
                self._latency(name, asked)
            for dial in plan.dials if traps else ():
                self._targets(
                    f"{name} +{dial:.0%} traps",
                    partial(self._mixed, asked, traps, dial),
                )

    def _plain(self, name: str, asked: Sequence[data.Asked]) -> None:
        self._targets(name, lambda seed: self._shuffled(asked, seed))
        plain = [self._shuffled(asked, seed) for seed in self._seeds(None)]
        self._each(name, "exact", None, plain, lambda t, _: baselines.exact(t))
        swept = [
            self._each(name, f"static {at:.2f}", None, plain, _static(at))
            for at in (baselines.THRESHOLDS[::3] if self._plan.quick else baselines.THRESHOLDS)
        ]
        for target in self._plan.targets:
            kept = [row for row in swept if row.wrong <= target and row.hits]
            best = max(kept, key=lambda row: row.hits, default=None)
            said = "none" if best is None else f"{best.way}, {100 * best.hits:.1f}% hits"
            print(f"{name}: best static threshold with at most {target:.0%} wrong: {said}")
        self._each(name, "GPTCache 0.60", None, plain, _static(baselines.GPTCACHE))
        vcache = f"vCache {DEFAULT:.0%}"
        self._each(name, vcache, DEFAULT, plain, lambda t, seed: baselines.vcache(t, DEFAULT, seed))
        self._each(name, "perfect verifier", None, plain, lambda t, _: baselines.perfect(t))

    def _targets(self, name: str, traffic: Callable[[int], Traffic]) -> None:
        """The decision at every target, without and with the verifier."""
        made: dict[int, Traffic] = {}
        for target in self._plan.targets:
            for seed in self._seeds(target):
                made[seed] = made.get(seed) or traffic(seed)
            chosen = [made[seed] for seed in self._seeds(target)]
            way = f"ours {target:.0%}"
            self._each(name, way, target, chosen, self._ours(target, None))
            if self._scores is not None:
                way += " with verifier"
                self._each(name, way, target, chosen, self._ours(target, self._scores))

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
        self.found.streams.append(made)
        print(report.line(made), flush=True)
        self._save()
        return made

    def _ours(self, target: float, scores: Scores | None) -> Callable[[Traffic, int], Outcome]:
        settings = Settings(target=target)
        return lambda traffic, seed: Replay(traffic, settings, scores, seed).run()

    def _seeds(self, target: float | None) -> range:
        count = self._plan.seeds if target == DEFAULT else self._plan.other_seeds
        return range(1, count + 1)

    def _rows(self, asked: Sequence[data.Asked], seed: int) -> list[data.Asked]:
        rows = list(asked)
        Random(seed).shuffle(rows)
        return rows[: self._plan.rows]

    def _shuffled(self, asked: Sequence[data.Asked], seed: int) -> Traffic:
        return prepare(self._rows(asked, seed), self._embeddings)

    def _zipf(self, asked: Sequence[data.Asked], seed: int) -> Traffic:
        count = min(self._plan.rows, len(asked))
        return prepare(zipf.draw(asked, count, seed), self._embeddings)

    def _mixed(
        self, asked: Sequence[data.Asked], traps: Sequence[Pair], dial: float, seed: int
    ) -> Traffic:
        rows = mixed.mix(self._rows(asked, seed), traps, dial, seed)
        return prepare(rows, self._embeddings)

    def _latency(self, name: str, asked: Sequence[data.Asked]) -> None:
        """In a scope of half the stream, on questions of the other half."""
        rows = self._rows(asked, seed=1)
        half = len(rows) // 2
        traffic = prepare(rows[:half], self._embeddings)
        for way, verifier in (("", None), (" with verifier", self._plan.verifier)):
            if way and verifier is None:
                continue
            replay = Replay(
                traffic, Settings(target=DEFAULT), self._scores if verifier else None, 1
            )
            replay.run()
            texts = [one.text for one in rows[half:]]
            made = latency.measure(
                name + way, replay, texts, self._embeddings, self._plan.embedder, verifier
            )
            self.found.latency.append(made)
            print(report.latency_line(made), flush=True)

    # Logs

    def _logs(self) -> None:
        for name, queries in self._folder.logs.items():
            asked = queries[: 2_000 if self._plan.quick else None]
            found = logs.Replay(asked, self._embeddings, self._scores, DEFAULT).run(name)
            self.found.logs.append(found)
            print("\n".join(report.log_lines(found)), flush=True)

    def _prose(self) -> None:
        print(prose.HEAD)
        for made in prose.measure(self._plan.data, self._plan.embedder):
            if isinstance(made, prose.Counted):
                self.found.prose.append(made)
                print(prose.line(made), flush=True)
            else:
                print(made, flush=True)

    def _save(self) -> None:
        if self._scores is not None:
            self._scores.save()
        if self._plan.json is not None:
            made = json.dumps(self.found.as_json(), indent=1, default=str)
            self._plan.json.write_text(made + "\n")


def _static(threshold: float) -> Callable[[Traffic, int], Outcome]:
    return lambda traffic, _: baselines.static(traffic, threshold)
