"""The whole evaluation: pairs, streams, logs, and what must not be served; baselines beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

from scripts.evaluation import (
    attack,
    cold,
    data,
    declared,
    halves,
    languages,
    latency,
    logs,
    mixed,
    pairs,
    poison,
    prose,
    report,
    shift,
)
from scripts.evaluation.plan import DEFAULT, Plan
from scripts.evaluation.safety import Safety
from scripts.evaluation.stream import Settings
from scripts.evaluation.streams import Streams
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.verify import cold as verified
from scripts.evaluation.verify.part import Found, Verify
from scripts.pairs.types import Pair

ResultRow: TypeAlias = (
    report.Row | latency.Figures | shift.Row | attack.Row | poison.Moved | cold.Row | declared.Row
)
PAIRS = 2_500  # of a larger set every n-th; more change no figure by two points


class Evaluation:
    """A plan at work: prints as it goes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan = plan.shortened()
        self._embeddings = Embeddings(plan.embedder, plan.cache)
        self.found = report.Found([], [], [], [])

    @cached_property
    def _folder(self) -> data.Folder:
        return halves.of(data.read(self._plan.data, self._plan.only), self._plan.half)

    def run(self) -> report.Found:
        parts = self._plan.parts
        if "pairs" in parts and self._folder.pairs:
            self._pairs()
        if {"streams", "zipf", "traps", "latency"} & set(parts) and self._folder.streams:
            self._streams()
        if "logs" in parts:
            self._logs()
        if "languages" in parts:
            self._languages()
        if "prose" in parts:
            self._prose()
        if "declared" in parts:
            self._declared()
        if {"shift", "attack", "poison", "cold"} & set(parts):
            self._safety()
        if "verify" in parts:
            Verify(self._plan, self._embeddings, self._keep_verify).run()
        self._save()
        return self.found

    def _streams(self) -> None:
        plan = self._plan
        traps: list[Pair] = []
        if "traps" in plan.parts:
            traps = mixed.traps(halves.of(data.read(plan.data), plan.half).pairs)
        found_rows = Streams(plan, self._embeddings, self._keep)
        found_rows.run(self._folder.streams, traps)

    def _safety(self) -> None:
        found_rows = Safety(self._plan, self._embeddings, self._keep)
        if "shift" in self._plan.parts:
            found_rows.run_shift()
        if "attack" in self._plan.parts:
            found_rows.run_attack()
        if "poison" in self._plan.parts:
            found_rows.run_poison()
        if "cold" in self._plan.parts:
            found_rows.run_cold()

    def _keep_verify(self, found: Found) -> None:
        self.found = replace(self.found, verify=found)
        self._save()

    def _keep(self, found_rows: ResultRow) -> None:
        match found_rows:
            case report.Row():
                self.found.streams.append(found_rows)
            case latency.Figures():
                self.found.latency.append(found_rows)
            case shift.Row():
                self.found.shift.append(found_rows)
            case attack.Row():
                self.found.attack.append(found_rows)
            case poison.Moved():
                self.found.poison.append(found_rows)
            case cold.Row():
                self.found.cold.append(found_rows)
            case declared.Row():
                self.found.declared.append(found_rows)
        self._save()

    # Pairs

    def _pairs(self) -> None:
        print(report.PAIR_HEAD)
        for name, listed in self._folder.pairs.items():
            step = max(1, len(listed) // (300 if self._plan.quick else PAIRS))
            if pairs.judgeable(chosen := listed[::step]):
                for found_rows in self._pair_figures(name, chosen):
                    self.found.pairs.append(found_rows)
                    print(report.pair_line(found_rows), flush=True)
            self._save()

    def _pair_figures(self, name: str, listed: Sequence[Pair]) -> Iterator[pairs.Figures]:
        near = pairs.cosines(listed, self._embeddings)
        yield pairs.threshold(name, listed, near)
        yield pairs.replay(name, "words", listed, near, DEFAULT, prior=self._embeddings.prior)

    # Declared questions

    def _declared(self) -> None:
        print(declared.HEAD)
        for name, listed in self._folder.streams.items():
            for row in declared.measure(name, listed, self._embeddings, self._plan):
                print(declared.line(row), flush=True)
                self._keep(row)

    # Logs

    def _logs(self) -> None:
        for name, queries in self._folder.logs.items():
            questions = queries[: 2_000 if self._plan.quick else None]
            found = logs.Replay(questions, self._embeddings, DEFAULT).run(name)
            self.found.logs.append(found)
            print("\n".join(report.log_lines(found)), flush=True)

    def _languages(self) -> None:
        print(cold.HEAD)
        for code, listed in languages.sets(self._plan.half):
            listed = listed[:20] if self._plan.quick else listed
            judged = cold.judged(listed, self._embeddings, Settings(target=DEFAULT))
            row = cold.rows(code, cold.OURS, judged[cold.OURS])[1]  # with twins
            print(cold.line(row), flush=True)
            self.found.languages.append(row)
            asked = verified.judged(listed, self._embeddings, languages.VERIFIERS, DEFAULT)
            for name, model in languages.VERIFIERS.items():
                print(verified.line(verified.row(code, name, model, asked)), flush=True)
            self._save()

    def _prose(self) -> None:
        print(prose.HEAD)
        for found_rows in prose.measure(self._plan.data, self._plan.embedder):
            if isinstance(found_rows, prose.Counted):
                self.found.prose.append(found_rows)
                print(prose.line(found_rows), flush=True)
            else:
                print(found_rows, flush=True)

    def _save(self) -> None:
        if self._plan.json is not None:
            found_rows = json.dumps(self.found.as_json(), indent=1, default=str)
            self._plan.json.write_text(found_rows + "\n")
