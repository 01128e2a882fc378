"""Poisoning: decisions on questions far from an attacker's, before and after these came.

A scope learns from honest traffic, up to a refit, so that no label of its own waits for the next.
Then comes one way of `poisons`, by the honest callers' key, by one end user of it, or by another
key. Far questions are asked before and after by `peek`, which changes nothing: some that were hits,
some that were misses, some of another stream. Whatever differs, the attacker moved.

Where that is most of a step, honest traffic then goes on to the next refit, beside a scope that
nobody attacked: what differs between the two is what the attacker's part of the step moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from scripts.evaluation.data import Question
from scripts.evaluation.deciders import Ours, fork
from scripts.evaluation.poisons import ASKED, WAYS, Step
from scripts.evaluation.stream import Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import Embeddings, Vectors

LEARNED = 2_000
EACH = 150  # far questions of each kind: hits, misses, foreign
_ONWARD = 3_000  # requests more for the step after the attack
_POOL = 1_200  # unasked questions of the stream that hits and misses are chosen from
_WAIT = 2_500  # requests more until a fit: a settled scope has one every 1,000 labels
_AIMED = 8  # intents; doubles of all would leave no question far from them
_VICTIMS = 200  # questions of these that honest callers have yet to ask, whose doubles come first
FAR = 0.6  # a far question's cosine to every request of the attacker is below
# The honest callers' is "": a key, a dot and an end user, as in `actors.caller_of`.
CALLERS = {"same key": "", "end user of it": ".attacker", "another key": "attacker."}
LASTING = frozenset(("volume",))  # ways whose next step is told too


@dataclass(frozen=True, slots=True)
class Sizes:
    """The number of requests of each kind."""

    learned: int = LEARNED
    each: int = EACH
    pool: int = _POOL
    questions: int = ASKED


@dataclass(slots=True)
class Moved:
    """Decisions that one way moved, all seeds together."""

    home: str
    way: str
    caller: str
    far: int = 0  # questions asked before and after
    hits: int = 0  # of them, before
    wrong: int = 0
    changed: int = 0  # decisions that differ in anything
    begun: int = 0  # misses that became hits
    ended: int = 0  # hits that became misses
    wrong_after: int = 0
    poisoned: int = 0  # far questions answered by an entry of the attacker
    victims: int = 0  # questions whose near doubles were asked
    victims_served: int = 0  # of them, answered by an entry of the attacker
    levels: list[tuple[float, float]] = field(default_factory=list)  # of the bar, by seed
    stepped: int = 0  # far questions asked again after the next step, with and without the attack
    honest: int = 0  # of them, hits that became misses or misses hits without the attack
    lasting: int = 0  # that are a hit in one of the two scopes and a miss in the other
    wrong_honest: int = 0
    wrong_lasting: int = 0


@dataclass(frozen=True, slots=True)
class FarDecision:
    """One decision on a far question."""

    entry: int | None
    right: bool


class Poisoned:
    """An honest scope, the far questions, and the attackers' requests of one seed."""

    def __init__(
        self,
        home: Sequence[Question],
        foreign: Sequence[Question],
        embeddings: Embeddings,
        *,
        seed: int,
        sizes: Sizes,
        ways: Sequence[str],
        settings: Settings,
    ) -> None:
        rng = Random(seed)
        rows = rng.sample(list(home), len(home))
        learned = min(sizes.learned, len(rows) // 2)
        wait, pool = min(_WAIT, learned * 5 // 4), min(sizes.pool, len(rows) // 4)
        questions, later = rows[: learned + wait + pool], rows[learned + wait + pool :]
        names = sorted({one.intent for one in rows})
        aimed = set(rng.sample(names, min(_AIMED, len(names))))
        victim_rows = [one for one in later if one.intent in aimed][:_VICTIMS]
        self._victims = range(len(questions), len(questions) + len(victim_rows))
        onward = [one for one in later if one not in victim_rows][:_ONWARD]
        self._onward = range(self._victims.stop, self._victims.stop + len(onward))
        questions += [*victim_rows, *onward]
        victims = [questions[at].text for at in self._victims]
        others = rng.sample(list(foreign), min(sizes.each, len(foreign)))
        honest = prepare([*questions, *others], embeddings)
        steps = [
            (way, caller, step)
            for way in ways
            for step in WAYS[way](Random(f"{seed} {way}"), victims, sizes.questions)
            for caller in CALLERS
        ]
        self._steps: dict[tuple[str, str], list[tuple[int, Step]]] = {}
        for at, (way, caller, step) in enumerate(steps, len(honest)):
            self._steps.setdefault((way, caller), []).append((at, step))
        self.traffic = _joined(honest, steps, embeddings)
        replay = Replay(self.traffic, settings, seed)
        for at in range(learned):
            replay.ask(at)
        for at in range(learned, learned + wait):
            if not replay.state.fresh:
                break
            replay.ask(at)
        self._honest = Ours(replay)
        self._stepped: Ours | None = None
        self._attackers = range(len(honest), len(self.traffic))
        pooled = range(learned + wait, self._victims.start)
        self._each = sizes.each
        told = [(at, self._honest.peek(at)) for at in pooled]
        # Of the stream's unasked questions the hits, the misses; and questions of another stream.
        self._kinds = (
            [at for at, entry in told if entry is not None],
            [at for at, entry in told if entry is None],
            list(range(len(questions), len(honest))),
        )

    def moved(self, home: str) -> Iterator[Moved]:
        """Yield what each way moved under each caller's name."""
        for way, caller in self._steps:
            yield self._moved(home, way, caller)

    def _moved(self, home: str, way: str, caller: str) -> Moved:
        steps = self._steps[way, caller]
        far = self._away(steps)
        decider = fork(self._honest, self.traffic)
        assert isinstance(decider, Ours)
        before = [self._decide(self._honest, at) for at in far]
        level = decider.replay.bar.level
        for at, step in steps:
            decider.ask(at)
            if step.blame and decider.outcome.hits[-1]:
                decider.replay.blame(at)
        after = [self._decide(decider, at) for at in far]
        both = list(zip(before, after, strict=True))
        moved = Moved(home, way, caller, far=len(far))
        moved.hits = sum(b.entry is not None for b in before)
        moved.wrong = sum(_wrong(b) for b in before)
        moved.changed = sum(b != a for b, a in both)
        moved.begun = sum(b.entry is None and a.entry is not None for b, a in both)
        moved.ended = sum(b.entry is not None and a.entry is None for b, a in both)
        moved.wrong_after = sum(_wrong(a) for a in after)
        moved.poisoned = sum(a.entry in self._attackers for a in after if a.entry is not None)
        if way == "near doubles":
            self._count_victims(decider, moved)
        moved.levels.append((level, decider.replay.bar.level))
        if way in LASTING:
            self._count_lasting(decider, far, before, moved)
        return moved

    def _count_lasting(
        self, attacked: Ours, far: Sequence[int], before: Sequence[FarDecision], moved: Moved
    ) -> None:
        """Count what differs after the next step of honest traffic from a scope not attacked."""
        if self._stepped is None:
            unmoved = fork(self._honest, self.traffic)
            assert isinstance(unmoved, Ours)
            self._stepped = self._next_step(unmoved)
        attacked = self._next_step(attacked)
        for at, was in zip(far, before, strict=True):
            without, now = self._decide(self._stepped, at), self._decide(attacked, at)
            moved.stepped += 1
            moved.honest += (was.entry is None) != (without.entry is None)
            moved.lasting += (without.entry is None) != (now.entry is None)
            moved.wrong_honest += _wrong(without)
            moved.wrong_lasting += _wrong(now)

    def _next_step(self, decider: Ours) -> Ours:
        """Honest traffic up to the next refit, whose weights are others than before."""
        weights = decider.replay.state.weights
        for at in self._onward:
            if decider.replay.state.weights != weights:
                break
            decider.ask(at)
        return decider

    def _away(self, steps: Sequence[tuple[int, Step]]) -> list[int]:
        """Far questions: as many of each kind as wanted."""
        vectors = self.traffic.vectors
        theirs: Vectors = vectors[[at for at, _ in steps]]
        found: list[int] = []
        for kind in self._kinds:
            if kind:
                nearest = (vectors[kind] @ theirs.T).max(axis=1)
                away = [at for at, near in zip(kind, nearest, strict=True) if near < FAR]
                found += away[: self._each]
        return found

    def _decide(self, decider: Ours, at: int) -> FarDecision:
        entry = decider.peek(at)
        questions = self.traffic.questions
        return FarDecision(
            entry, entry is not None and questions[entry].meaning == questions[at].meaning
        )

    def _count_victims(self, decider: Ours, moved: Moved) -> None:
        for at in self._victims:
            entry = decider.peek(at)
            moved.victims += 1
            moved.victims_served += entry is not None and entry in self._attackers


def _wrong(told: FarDecision) -> bool:
    return told.entry is not None and not told.right


def _joined(
    honest: Traffic, steps: Sequence[tuple[str, str, Step]], embeddings: Embeddings
) -> Traffic:
    """The honest traffic, then the attackers' requests with answers of their own."""
    questions = [
        Question(s.text, f"attack: {s.text}", s.text, caller=CALLERS[caller], answer=s.answer)
        for _, caller, s in steps
    ]
    vectors = embeddings.of([one.text for one in questions])
    return Traffic(
        [*honest.questions, *questions], np.concatenate([honest.vectors, vectors]), honest.prior
    )


def added(runs: Sequence[Moved]) -> list[Moved]:
    """One row a home, way and caller, all seeds added up."""
    found: dict[tuple[str, str, str], Moved] = {}
    for one in runs:
        key = one.home, one.way, one.caller
        row = found.setdefault(key, Moved(*key))
        for name in _COUNTED:
            setattr(row, name, getattr(row, name) + getattr(one, name))
        row.levels += one.levels
    return list(found.values())


_COUNTED = (
    *("far", "hits", "wrong", "changed", "begun", "ended", "wrong_after", "poisoned"),
    *("victims", "victims_served"),
    *("stepped", "honest", "lasting", "wrong_honest", "wrong_lasting"),
)

HEAD = (
    f"{'home':<12}{'way':<28}{'caller':<16}{'far':>5}{'hits':>6}{'changed':>9}{'begun':>7}"
    f"{'ended':>7}{'wrong':>7}{'after':>7}{'theirs':>8}  bar by seed"
)


def line(moved: Moved) -> str:
    """A row of the table, in counts."""
    levels = ", ".join(f"{before:.3f}>{after:.3f}" for before, after in moved.levels)
    told = ""
    if moved.victims:
        told = f"; {moved.victims_served} of {moved.victims} victims served the double's answer"
    if moved.stepped:
        told += (
            f"; after the next step {moved.lasting} of {moved.stepped} differ from a scope without"
            f" the attack ({moved.wrong_lasting} wrong, {moved.wrong_honest} without), which itself"
            f" changed {moved.honest}"
        )
    return (
        f"{moved.home:<12}{moved.way:<28}{moved.caller:<16}{moved.far:>5}{moved.hits:>6}"
        f"{moved.changed:>9}{moved.begun:>7}{moved.ended:>7}{moved.wrong:>7}{moved.wrong_after:>7}"
        f"{moved.poisoned:>8}  {levels}{told}"
    )


def verdict(rows: Sequence[Moved]) -> str:
    """A line that says if no decision on a far question changed."""
    changed = {f"{row.way} ({row.caller})": row.changed for row in rows if row.changed}
    count = sum(row.far for row in rows)
    if not changed:
        return f"no decision of {count} on far questions changed: kept"
    told = ", ".join(f"{name} {moved}" for name, moved in changed.items())
    return f"{sum(changed.values())} decisions of {count} changed: MISSED ({told})"
