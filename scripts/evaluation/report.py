"""Runs of several seeds as one row, and what was found as lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from cacheserver.matching.conformal_bound import wilson
from scripts.evaluation import (
    attack,
    cold,
    declared,
    latency,
    logs,
    pairs,
    poison,
    prose,
    shift,
    windows,
)
from scripts.evaluation.stream import Outcome
from scripts.evaluation.verify.part import Found as Verification


@dataclass(frozen=True, slots=True)
class Row:
    """One way to decide on one stream, all seeds together. Shares are 0..1."""

    stream: str
    way: str
    target: float | None
    requests: int  # of all seeds
    exact: float  # share of the requests: the same text again, served without a decision
    hits: float  # share of the requests served by similarity
    charged: float  # the same, audited hits taken off: they cost a call
    wrong: float  # share of `hits`, mean over seeds
    interval: tuple[float, float]  # Wilson, 95%, all seeds' hits as one sample
    seeds: tuple[float, ...]  # the wrong share of each
    second_half: float  # wrong share there, mean over seeds
    second_interval: tuple[float, float]
    traps: float | None = None  # share of the traps served; None: there were none
    over: tuple[int, int] | None = None  # (windows with more wrong than chance explains, windows)


@dataclass(frozen=True, slots=True)
class Found:
    """All of a run, as `--json` writes it."""

    streams: list[Row]
    pairs: list[pairs.Figures]
    logs: list[logs.Figures]
    latency: list[latency.Figures]
    prose: list[prose.Counted] = field(default_factory=list)
    shift: list[shift.Row] = field(default_factory=list)
    attack: list[attack.Row] = field(default_factory=list)
    poison: list[poison.Moved] = field(default_factory=list)
    languages: list[cold.Row] = field(default_factory=list)
    cold: list[cold.Row] = field(default_factory=list)
    verify: Verification | None = None
    declared: list[declared.Row] = field(default_factory=list)

    def as_json(self) -> object:
        return asdict(self)


def row(stream: str, way: str, target: float | None, outcomes: Sequence[Outcome]) -> Row:
    """The row of `outcomes`, one a seed."""
    requests = sum(len(o.hits) for o in outcomes)
    hits, wrong = sum(sum(o.hits) for o in outcomes), sum(sum(o.wrong) for o in outcomes)
    audited, traps = sum(sum(o.audited) for o in outcomes), sum(o.traps for o in outcomes)
    second = [_second_half(o) for o in outcomes]
    seeds = [sum(o.wrong) / max(1, sum(o.hits)) for o in outcomes]
    return Row(
        stream=stream,
        way=way,
        target=target,
        requests=requests,
        exact=sum(sum(o.exact) for o in outcomes) / requests,
        hits=hits / requests,
        charged=(hits - audited) / requests,
        wrong=sum(seeds) / len(seeds),
        interval=wilson(wrong, hits),
        seeds=tuple(round(share, 4) for share in seeds),
        second_half=sum(w / max(1, h) for h, w in second) / len(second),
        second_interval=wilson(sum(w for _, w in second), sum(h for h, _ in second)),
        traps=sum(o.trapped for o in outcomes) / traps if traps else None,
        over=None if target is None else _over(target, outcomes),
    )


def _over(target: float, outcomes: Sequence[Outcome]) -> tuple[int, int]:
    looked = [one for o in outcomes for one in windows.windows(o.hits, o.wrong, target)]
    return sum(one.over for one in looked), len(looked)


def _second_half(outcome: Outcome) -> tuple[int, int]:
    middle = len(outcome.hits) // 2
    return sum(outcome.hits[middle:]), sum(outcome.wrong[middle:])


AIM = 0.6  # ms of a decision beyond the embedding, p50
STREAM_HEAD = (
    f"{'stream':<32}{'way':<22}{'exact':>6}{'hits':>6}{'charged':>8}{'wrong':>7}  {'95%':<14}"
    f"{'2nd half':>9}  {'95%':<14}{'traps':>6}{'windows':>9}  wrong by seed"
)
PAIR_HEAD = (
    f"{'pairs':<30}{'way':<22}{'count':>6}{'AUC':>7}{'traps at 60% kept':>19}  {'95%':<14}"
    f"{'at 80%':>7}  vetoed traps, duplicates"
)


def line(row: Row) -> str:
    """A row of the table, in percent."""
    seeds = " ".join(f"{100 * s:.2f}" for s in row.seeds)
    traps = "" if row.traps is None else f"{100 * row.traps:.1f}"
    over = "" if row.over is None else f"{row.over[0]}/{row.over[1]}"
    return (
        f"{row.stream:<32}{row.way:<22}{100 * row.exact:>6.1f}{100 * row.hits:>6.1f}"
        f"{100 * row.charged:>8.1f}{100 * row.wrong:>7.2f}  {_interval(row.interval):<14}"
        f"{100 * row.second_half:>9.2f}  {_interval(row.second_interval):<14}{traps:>6}"
        f"{over:>9}  {seeds}"
    )


def pair_line(found: pairs.Figures) -> str:
    """A set of pairs and a way to decide in one line."""
    scores = found.scores
    vetoed = ""
    if found.by_source is not None:
        vetoed = f"  {100 * found.vetoed_traps:.0f}%, {100 * found.vetoed_duplicates:.0f}%"
    served = f"{100 * scores.traps_at_60:>19.1f}  {_interval(found.interval):<14}"
    if found.vetoed_duplicates > 1 - pairs.KEPT:  # a bar below 0 would be needed
        served = f"{'(keeps fewer)':>19}  {'':<14}"
    return (
        f"{found.name:<30}{found.way:<22}{scores.pairs:>6}{scores.auc:>7.3f}{served}"
        f"{100 * scores.traps_at_80:>7.1f}{vetoed}"
    )


def log_lines(found: logs.Figures) -> list[str]:
    """A log in some lines."""
    shares = ", ".join(f"{tier} {100 * share:.1f}%" for tier, share in found.shares.items())
    static = ", ".join(
        f"cosine {level} would serve {100 * share:.1f}%, and a veto contradicts "
        f"{100 * found.contradicted[level]:.0f}% of that"
        for level, share in found.static.items()
    )
    p50, p95 = found.decision_ms
    return [
        f"{found.name}: {found.requests} requests, {found.entries} stored: {shares}",
        f"  beyond exact and folded: {static}",
        f"  search and decision p50 {p50:.2f} ms, p95 {p95:.2f} ms; no labels, so no wrong share",
    ]


def latency_line(found: latency.Figures) -> str:
    aim = f"; aim {AIM} ms p50 {'kept' if found.p50 < AIM else 'MISSED'}"
    return (
        f"decision beyond the embedding, {found.name}: p50 {found.p50:.2f} ms, p95 {found.p95:.2f} "
        f"ms ({found.questions} questions of {found.tokens:.0f} tokens, {found.entries} "
        f"stored{aim})"
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
