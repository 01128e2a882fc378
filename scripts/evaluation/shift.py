"""A scope that has learned one stream, when questions of another come in.

The scope learns from 2,000 requests of its home stream. Then foreign questions come in among its
own, a share of all that is asked. None of what is stored of the home stream serves them. A foreign
question stored on the way may serve a later one: right or wrong by their own meanings. Beside it
the same questions are looked up without being stored, as a reader of the cache would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from cacheserver.matching.conformal_bound import wilson
from scripts.evaluation import windows
from scripts.evaluation.data import Question
from scripts.evaluation.deciders import Decider, Maker, fork
from scripts.evaluation.meanings import folded
from scripts.evaluation.stream import prepare
from scripts.evaluation.vectors import Embeddings

LEARNED = 2_000
SHARES = (0.05, 0.20, 0.50, 1.0)
READ_ONLY = 0.0  # the share that stands for look-ups without storing
FOREIGN = 1_500  # questions of each source at most, a seed
_EACH = 300  # and at least: over five seeds there are 1,500
_LATER = 3_000  # requests after the learned ones, at least where the share is under 1
LIMIT = 0.002  # of foreign questions, served


@dataclass(frozen=True, slots=True)
class Sizes:
    """The number of requests of each kind."""

    learned: int = LEARNED
    foreign: int = FOREIGN
    each: int = _EACH
    later: int = _LATER

    def questions(self, share: float) -> int:
        """Foreign questions of one run."""
        return min(self.foreign, round(share * max(self.later, self.each / share)))


@dataclass(slots=True)
class Counts:
    """Counts of one run, or of several added up."""

    requests: int = 0  # after the learned ones
    hits: int = 0
    wrong: int = 0
    foreign: int = 0
    home: int = 0  # foreign questions served an answer of the home stream: wrong
    other: int = 0  # served another foreign question's answer, and wrong
    own: int = 0  # served another foreign question's answer, and right
    windows: int = 0
    over: int = 0  # windows with more wrong hits than chance explains at the target
    worst: tuple[int, int, int] = (0, 0, 0)  # (hits, wrong, most) of the window furthest over

    def add(self, more: Counts) -> None:
        for name in ("requests", "hits", "wrong", "foreign", "home", "other", "own"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.windows, self.over = self.windows + more.windows, self.over + more.over
        self.worst = max(self.worst, more.worst, key=lambda w: w[1] - w[2])

    @property
    def served(self) -> int:
        """Foreign questions served."""
        return self.home + self.other + self.own


@dataclass(frozen=True, slots=True)
class Row:
    """One home stream, one source, one share, one way to decide; all seeds together."""

    home: str
    foreign: str
    share: float  # of the requests; `READ_ONLY`
    way: str
    target: float
    counts: Counts
    served: float  # share of the foreign questions
    astray: float  # share served an answer that is not theirs
    interval: tuple[float, float]  # of `astray`; Wilson, 95%
    wrong: float  # share of the hits
    wrong_interval: tuple[float, float]


def row(home: str, foreign: str, share: float, way: str, target: float, counts: Counts) -> Row:
    """The row of runs added up."""
    return Row(
        home=home,
        foreign=foreign,
        share=share,
        way=way,
        target=target,
        counts=counts,
        served=counts.served / max(1, counts.foreign),
        astray=(counts.home + counts.other) / max(1, counts.foreign),
        interval=wilson(counts.home + counts.other, counts.foreign),
        wrong=counts.wrong / max(1, counts.hits),
        wrong_interval=wilson(counts.wrong, counts.hits),
    )


class Shifted:
    """One home stream and all sources, made ready for one seed."""

    def __init__(
        self,
        home: Sequence[Question],
        sources: Mapping[str, Sequence[Question]],
        embeddings: Embeddings,
        *,
        seed: int,
        sizes: Sizes,
    ) -> None:
        self._sizes = sizes
        rng = Random(seed)
        rows = rng.sample(list(home), len(home))
        learned = min(sizes.learned, len(rows) // 2)
        later = max(sizes.later, round(sizes.each / min(SHARES)))
        questions = rows[: learned + later]
        self._learned, self._rest = range(learned), range(learned, len(questions))
        texts = {folded(one.text) for one in home}
        self._foreign: dict[str, range] = {}
        for name, listed in sources.items():
            new = [one for one in listed if folded(one.text) not in texts]
            chosen = rng.sample(new, min(sizes.foreign, len(new)))
            self._foreign[name] = range(len(questions), len(questions) + len(chosen))
            questions += chosen
        self._home = range(learned + len(self._rest))
        self._seed = seed
        self.traffic = prepare(questions, embeddings)

    def runs(
        self, make: Maker, target: float, shares: Iterable[float]
    ) -> Iterator[tuple[str, float, Counts]]:
        """(source, share, counts) of one way to decide; learned once, then each apart."""
        learned = make(self.traffic, self._seed)
        for at in self._learned:
            learned.ask(at)
        chosen = tuple(shares)
        for source, foreign in self._foreign.items():
            yield source, READ_ONLY, self._looked_up(learned, foreign)
            for share in chosen:
                decider = fork(learned, self.traffic)
                yield source, share, self._mixed(decider, foreign, share, target)

    def _looked_up(self, decider: Decider, foreign: range) -> Counts:
        counts = Counts(foreign=len(foreign))
        for at in foreign:
            self._count(counts, at, decider.peek(at))
        counts.hits = counts.wrong = counts.served
        return counts

    def _mixed(self, decider: Decider, foreign: range, share: float, target: float) -> Counts:
        questions = foreign[: self._sizes.questions(share)]
        begun = len(decider.outcome.hits)
        counts = Counts(foreign=len(questions))
        for at in self._order(questions, share):
            if at in questions:
                self._count(counts, at, decider.peek(at))
            decider.ask(at)
        outcome = decider.outcome
        counts.requests = len(outcome.hits) - begun
        counts.hits, counts.wrong = sum(outcome.hits[begun:]), sum(outcome.wrong[begun:])
        looked = windows.windows(outcome.hits, outcome.wrong, target, since=begun)
        counts.windows, counts.over = len(looked), sum(one.over for one in looked)
        worst = max(looked, key=lambda one: one.wrong - one.most, default=None)
        if worst is not None:
            counts.worst = (worst.hits, worst.wrong, worst.most)
        return counts

    def _count(self, counts: Counts, at: int, entry: int | None) -> None:
        if entry is None:
            return
        if entry in self._home:
            counts.home += 1
        elif self.traffic.questions[entry].meaning == self.traffic.questions[at].meaning:
            counts.own += 1
        else:
            counts.other += 1

    def _order(self, foreign: range, share: float) -> list[int]:
        """Foreign questions among the home's; where these run out, they are asked again."""
        rng = Random(f"{self._seed} {share}")
        count = round(len(foreign) * (1 - share) / share)
        home: list[int] = []
        while len(home) < count and self._rest:
            home += rng.sample(self._rest, min(len(self._rest), count - len(home)))
        places = set(rng.sample(range(len(home) + len(foreign)), len(foreign)))
        own, other = iter(home), iter(foreign)
        return [
            next(other) if place in places else next(own)
            for place in range(len(home) + len(foreign))
        ]


def pooled(rows: Sequence[Row], *, read_only: bool) -> list[Row]:
    """One row a way over all homes, sources and shares: what the limit and the target hold for."""
    found: dict[tuple[str, float], Counts] = {}
    for one in rows:
        if (one.share == READ_ONLY) is read_only:
            found.setdefault((one.way, one.target), Counts()).add(one.counts)
    share = READ_ONLY if read_only else 1.0
    return [row("all", "all", share, way, at, counts) for (way, at), counts in found.items()]


HEAD = (
    f"{'home':<12}{'foreign':<12}{'share':>6}  {'way':<24}{'foreign':>8}{'served':>8}"
    f"{'astray':>8}  {'95%':<16}{'home':>6}{'other':>6}{'own':>6}{'hits':>7}{'wrong':>8}  "
    f"{'95%':<16}windows over"
)


def line(row: Row) -> str:
    """A row of the table; shares in percent, answers by whose they are in counts."""
    counts = row.counts
    share = "all" if row.home == "all" else f"{100 * row.share:.0f}"
    if row.share == READ_ONLY:
        share = "read"
    over = f"{counts.over} of {counts.windows}"
    if counts.over:
        hits, wrong, most = counts.worst
        over += f" (worst: {wrong} wrong of {hits} hits, {most} explained)"
    return (
        f"{row.home:<12}{row.foreign:<12}{share:>6}  {row.way:<24}{counts.foreign:>8}"
        f"{100 * row.served:>8.2f}{100 * row.astray:>8.2f}  {_interval(row.interval):<16}"
        f"{counts.home:>6}{counts.other:>6}{counts.own:>6}{counts.hits:>7}{100 * row.wrong:>8.2f}  "
        f"{_interval(row.wrong_interval):<16}{over}"
    )


def verdict(row: Row) -> str:
    """A line that says if a pooled row keeps the limit, the target and its windows."""
    counts = row.counts
    told = (
        f"{row.way}: of {counts.foreign} foreign questions {100 * row.served:.3f}% served "
        f"({_kept(row.served <= LIMIT)}), {100 * row.astray:.3f}% by an answer not theirs "
        f"({_kept(row.astray <= LIMIT)}), at most {100 * LIMIT:.1f}%"
    )
    if row.share == READ_ONLY:
        return f"{told}; looked up only"
    return (
        f"{told}; of {counts.hits} hits {100 * row.wrong:.2f}% wrong, target {row.target:.0%} "
        f"({_kept(row.wrong <= row.target)}); {counts.over} of {counts.windows} windows over "
        f"({_kept(not counts.over)})"
    )


def _kept(kept: bool) -> str:
    return "kept" if kept else "MISSED"


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
