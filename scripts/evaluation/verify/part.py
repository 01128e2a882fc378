"""The part `verify` of an evaluation: streams, cold pairs, other questions, and a grid of rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from cacheserver.matching.verification import UNMEASURED
from scripts.evaluation import data, foreign, halves, shift, zipf
from scripts.evaluation.cold import chosen
from scripts.evaluation.data import Question
from scripts.evaluation.deciders import ours
from scripts.evaluation.plan import DEFAULT, Plan
from scripts.evaluation.stream import Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.verify import cold, money, rows
from scripts.evaluation.verify.step import Simulated
from scripts.pairs.own import own_pairs
from scripts.pairs.types import Pair

OFF = "none"
MODELS: Mapping[str, Simulated | None] = {
    OFF: None,
    "95/2": Simulated(0.95, 0.02),
    "90/5": Simulated(0.90, 0.05),
    "95/2, by intents": Simulated(0.95, 0.02, by="intents"),
    "90/5, by intents": Simulated(0.90, 0.05, by="intents"),
    "95/2, rates not stated": Simulated(0.95, 0.02, stated=UNMEASURED),
}
SENSITIVITIES, FALSE_YESES = (0.85, 0.90, 0.95, 0.98), (0.01, 0.02, 0.05, 0.10)
_COLD = {"95/2": Simulated(0.95, 0.02), "90/5": Simulated(0.90, 0.05)}
_COLD["90/10"] = Simulated(0.90, 0.10)
_PAIRS = 1_000  # of a larger set every n-th
_SHIFT = shift.Sizes(learned=2_000, foreign=600, each=300, later=1_200)
_QUICK_SHIFT = shift.Sizes(learned=300, foreign=60, each=24, later=120)
_SHARES = (0.2, 1.0)


@dataclass(slots=True)
class Found:
    """The figures of the part."""

    streams: list[rows.Row] = field(default_factory=list)
    cold: list[cold.Row] = field(default_factory=list)
    shift: list[shift.Row] = field(default_factory=list)
    grid: list[tuple[rows.Row, tuple[money.Money, ...]]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Verify:
    """This part of a plan: prints each row and calls `save` after it."""

    def __init__(self, plan: Plan, embeddings: Embeddings, save: Callable[[Found], None]) -> None:
        self._plan = plan
        self._embeddings = embeddings
        self._save = save
        self._folder = halves.of(data.read(plan.data), plan.half)
        self.found = Found()

    def run(self) -> None:
        wanted = self._plan.sections
        if "streams" in wanted:
            self._streams()
        if "cold" in wanted:
            self._cold()
        if "shift" in wanted:
            self._shift()
        if "grid" in wanted:
            self._grid()

    def _wanted(self, name: str) -> bool:
        return self._plan.only is None or self._plan.only in name

    def _models(self) -> Mapping[str, Simulated | None]:
        chosen = self._plan.verifiers
        return {n: m for n, m in MODELS.items() if not chosen or n in chosen}

    # Streams

    def _streams(self) -> None:
        print(rows.HEAD)
        for name, asked in self._folder.streams.items():
            if not self._wanted(name) or name.endswith(", reworded"):
                continue
            traffics = {seed: self._shuffled(asked, seed) for seed in self._plan.seeds_of(DEFAULT)}
            for named, model in self._models().items():
                self._stream(name, named, model, traffics)

    def _stream(
        self, name: str, named: str, model: Simulated | None, traffics: Mapping[int, Traffic]
    ) -> rows.Row:
        made = rows.row(name, named, DEFAULT, self._replayed(model, traffics))
        print(rows.line(made), flush=True)
        self.found.streams.append(made)
        self._save(self.found)
        return made

    def _replayed(self, model: Simulated | None, traffics: Mapping[int, Traffic]) -> list[Replay]:
        replays = []
        for seed, traffic in traffics.items():
            replay = Replay(traffic, Settings(target=DEFAULT, verifier=model), seed)
            replay.run()
            replays.append(replay)
        return replays

    def _shuffled(self, asked: Sequence[Question], seed: int) -> Traffic:
        listed = list(asked)
        Random(seed).shuffle(listed)
        return prepare(listed[: self._plan.rows], self._embeddings)

    # Cold

    def _cold(self) -> None:
        print(cold.HEAD)
        near = [Pair(a, b, int(wanted != "miss"), kind) for a, b, wanted, kind in own_pairs()]
        own = {**data.own(), "own/twin_pairs": near}
        sets = {
            **self._folder.pairs,
            **{name: halves.of_pairs(listed, self._plan.half) for name, listed in own.items()},
        }
        sets = {name: listed for name, listed in sets.items() if self._wanted(name)}
        for name, listed in chosen(sets, most=60 if self._plan.quick else _PAIRS):
            judged = cold.judged(listed, self._embeddings, _COLD, DEFAULT)
            for model, rates in _COLD.items():
                made = cold.row(name, model, rates, judged)
                print(cold.line(made), flush=True)
                self.found.cold.append(made)
            self._save(self.found)

    # Shift

    def _shift(self) -> None:
        print(shift.HEAD)
        homes = foreign.homes(self._folder, self._plan.half)
        strangers = foreign.strangers(self._folder, homes)
        sizes = _QUICK_SHIFT if self._plan.quick else _SHIFT
        shares = _SHARES[:1] if self._plan.quick else _SHARES
        made: list[shift.Row] = []
        for name, home in homes.items():
            if not self._wanted(name):
                continue
            sources = {n: listed for n, listed in strangers.items() if n != name}
            for seed in self._plan.seeds_of(None):
                shifted = shift.Shifted(home, sources, self._embeddings, seed=seed, sizes=sizes)
                for named, model in self._models().items():
                    maker = ours(Settings(target=DEFAULT, verifier=model))
                    for source, share, counts in shifted.runs(maker, DEFAULT, shares):
                        row = shift.row(name, source, share, named, DEFAULT, counts)
                        print(shift.line(row), flush=True)
                        made.append(row)
        for read_only in (True, False):
            for row in shift.pooled(made, read_only=read_only):
                print(shift.line(row))
                print(shift.verdict(row), flush=True)
                self.found.shift.append(row)
        self.found.shift += made
        self._save(self.found)

    # Grid

    def _grid(self) -> None:
        print("least chance of a yes at which a verification pays, by tokens")
        print("\n".join(money.break_even_lines()))
        print(rows.HEAD)
        for name, asked in self._folder.streams.items():
            if not self._wanted(name) or name.endswith(", reworded"):
                continue
            seeds = self._plan.seeds_of(None)
            count = min(self._plan.rows, len(asked))
            for kind, made in (
                (name, {seed: self._shuffled(asked, seed) for seed in seeds}),
                (
                    f"{name}, zipf",
                    {s: prepare(zipf.draw(asked, count, s), self._embeddings) for s in seeds},
                ),
            ):
                self._cell(kind, OFF, None, made)
                for sensitivity in SENSITIVITIES[2:3] if self._plan.quick else SENSITIVITIES:
                    for false_yes in FALSE_YESES[1:2] if self._plan.quick else FALSE_YESES:
                        named = f"{100 * sensitivity:.0f}/{100 * false_yes:.0f}"
                        self._cell(kind, named, Simulated(sensitivity, false_yes), made)
                background = Simulated(mode="background")
                self._cell(kind, "95/2, background", background, made)

    def _cell(
        self, kind: str, named: str, model: Simulated | None, traffics: Mapping[int, Traffic]
    ) -> None:
        made = rows.row(kind, named, DEFAULT, self._replayed(model, traffics))
        background = model is not None and model.mode == "background"
        bills = tuple(money.money(made, background=background))
        print(rows.line(made))
        print("    " + "; ".join(map(money.line, bills)), flush=True)
        self.found.grid.append((made, bills))
        self._save(self.found)
