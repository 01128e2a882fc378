"""The parts that ask what must not be served: shift, attack, poison; and cold pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from scripts.evaluation import attack, cold, data, foreign, halves, poison, poisons, shift
from scripts.evaluation.data import Question
from scripts.evaluation.deciders import Maker, others, ours
from scripts.evaluation.plan import DEFAULT, Plan
from scripts.evaluation.stream import Settings
from scripts.evaluation.vectors import Embeddings
from scripts.pairs.own import own_pairs
from scripts.pairs.types import Pair

OURS = f"ours {DEFAULT:.0%}"
_QUICK_SHIFT = shift.Sizes(learned=500, foreign=120, each=24, later=200)
_QUICK_POISON = poison.Sizes(learned=600, each=40, pool=200, questions=120)
_QUICK_PAIRS = 150  # of each set

Keep = Callable[[shift.Row | attack.Row | poison.Moved | cold.Row], None]


class Safety:
    """These parts of a plan: prints each row and gives it to `keep`."""

    def __init__(self, plan: Plan, embeddings: Embeddings, keep: Keep) -> None:
        self._plan = plan
        self._embeddings = embeddings
        self._keep = keep
        self._folder = halves.of(data.read(plan.data), plan.half)
        self._homes = foreign.homes(self._folder, plan.half)
        self._strangers = foreign.strangers(self._folder, self._homes)

    def _wanted(self, name: str) -> bool:
        return self._plan.only is None or self._plan.only in name

    # Shift

    def run_shift(self) -> None:
        """Every home under every source, ours and all other ways."""
        print(shift.HEAD)
        made: list[shift.Row] = []
        ways: dict[str, Maker] = {OURS: ours(Settings(target=DEFAULT))}
        ways |= others(DEFAULT, quick=self._plan.quick)
        for name, home in self._homes.items():
            if self._wanted(name):
                made += self._shifted(name, home, ways)
        for read_only in (False, True):
            for row in shift.pooled(made, read_only=read_only):
                self._print(row, shift.line(row))
                print(shift.verdict(row))

    def _shifted(
        self, name: str, home: Sequence[Question], ways: Mapping[str, Maker]
    ) -> list[shift.Row]:
        sources = {n: listed for n, listed in self._strangers.items() if n != name}
        shares = shift.SHARES[1:2] if self._plan.quick else shift.SHARES
        sizes = _QUICK_SHIFT if self._plan.quick else shift.Sizes()
        found: dict[tuple[str, float, str], shift.Counts] = {}
        for seed in self._plan.seeds_of(DEFAULT):
            made = shift.Shifted(home, sources, self._embeddings, seed=seed, sizes=sizes)
            for way, maker in ways.items():
                if way != OURS and seed not in self._plan.seeds_of(None):
                    continue
                for source, share, counts in made.runs(maker, DEFAULT, shares):
                    found.setdefault((source, share, way), shift.Counts()).add(counts)
        rows = [
            shift.row(name, source, share, way, DEFAULT, counts)
            for (source, share, way), counts in sorted(
                found.items(), key=lambda one: (one[0][0], one[0][1])
            )
        ]
        for row in rows:
            self._print(row, shift.line(row))
        return rows

    # Attack

    def run_attack(self) -> None:
        """Our own pairs, and every set of pairs with classes."""
        own = [Pair(a, b, int(wanted != "miss"), kind) for a, b, wanted, kind in own_pairs()]
        sets = {"own": halves.of_pairs(own, self._plan.half), **self._folder.attacks}
        if (path := self._plan.attack) is not None:
            sets[path.stem] = halves.of_pairs(data.pairs_of(path), self._plan.half)
        print(attack.HEAD)
        for name, listed in sets.items():
            settings = Settings(target=DEFAULT)
            found = cold.judged(listed, self._embeddings, settings)
            for way, judged in found.items():
                for row in attack.rows(name, way, judged):
                    self._print(row, attack.line(row))

    # Poison

    def run_poison(self) -> None:
        """Every way on every home but the easy one."""
        print(poison.HEAD)
        quick = self._plan.quick
        sizes = _QUICK_POISON if quick else poison.Sizes()
        for name, home in self._homes.items():
            others = [n for n in self._strangers if n != name]
            if name == "easy" or not others or not self._wanted(name):
                continue
            runs = [
                moved
                for seed in self._plan.seeds_of(DEFAULT)
                for moved in poison.Poisoned(
                    home,
                    self._strangers[others[0]],
                    self._embeddings,
                    seed=seed,
                    sizes=sizes,
                    ways=tuple(poisons.WAYS),
                    settings=Settings(target=DEFAULT),
                ).moved(name)
            ]
            rows = poison.added(runs)
            for row in rows:
                self._print(row, poison.line(row))
            print(f"{name}: {poison.verdict(rows)}")

    # Cold

    def run_cold(self) -> None:
        """Every set apart, then all; the same pairs as an earlier version's where it is given."""
        print(cold.HEAD)
        everything: dict[str, dict[str, list[cold.Judged]]] = {}
        for name, listed, before in self._cold_sets():
            ways = cold.judged(listed, self._embeddings, Settings(target=DEFAULT))
            if before:
                twins = {(one.a, one.b): one.twin for one in ways[cold.OURS]}
                ways[cold.BEFORE] = [replace(one, twin=twins[one.a, one.b]) for one in before]
            for way, judged in ways.items():
                for row in cold.rows(name, way, judged):
                    self._print(row, cold.line(row))
                everything.setdefault(way, {})[name] = judged
        for way, sets in everything.items():
            for row in cold.rows("all sets", way, cold.all_of(sets)):
                self._print(replace(row, pairs=()), cold.line(row))

    def _cold_sets(self) -> Iterator[tuple[str, list[Pair], list[cold.Judged]]]:
        """(set, pairs, what an earlier version served of them)."""
        plan = self._plan
        if plan.against is not None:
            for name, told in cold.earlier(plan.against).items():
                if self._wanted(name):
                    pairs = [Pair(one.a, one.b, one.label, one.source) for one in told]
                    kept = halves.of_pairs(pairs, plan.half)
                    by_text = {(one.a, one.b): one for one in told}
                    yield name, kept, [by_text[pair.a, pair.b] for pair in kept]
            return
        own = {n: halves.of_pairs(listed, plan.half) for n, listed in data.own().items()}
        sets = {n: p for n, p in {**self._folder.pairs, **own}.items() if self._wanted(n)}
        for name, listed in cold.chosen(sets, most=_QUICK_PAIRS if plan.quick else cold.PAIRS):
            yield name, listed, []

    def _print(self, row: shift.Row | attack.Row | poison.Moved | cold.Row, line: str) -> None:
        print(line, flush=True)
        self._keep(row)
