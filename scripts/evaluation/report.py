"""Runs of several seeds as one row, and the rows as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from cacheserver.policy.bound import wilson
from scripts.evaluation.pairs import Figures
from scripts.evaluation.stream import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One way to decide on one stream, all seeds together. Shares are 0..1."""

    stream: str
    way: str
    target: float | None
    requests: int  # of all seeds
    hits: float  # share of the requests
    charged: float  # the same, audited hits taken off: they cost a call
    wrong: float  # share of the hits
    interval: tuple[float, float]  # Wilson, 95%, all seeds' hits as one sample
    seeds: tuple[float, ...]  # the wrong share of each
    second_half: float  # wrong share there, mean over seeds
    second_interval: tuple[float, float]
    read: float = 0.0  # pairs the verifier read, a request


def row(stream: str, way: str, target: float | None, outcomes: Sequence[Outcome]) -> Row:
    """The row of `outcomes`, one a seed."""
    requests = sum(len(o.hits) for o in outcomes)
    hits, wrong = sum(sum(o.hits) for o in outcomes), sum(sum(o.wrong) for o in outcomes)
    audited = sum(sum(o.audited) for o in outcomes)
    second = [_second_half(o) for o in outcomes]
    late_hits, late_wrong = sum(h for h, _ in second), sum(w for _, w in second)
    return Row(
        stream=stream,
        way=way,
        target=target,
        requests=requests,
        hits=hits / requests,
        charged=(hits - audited) / requests,
        wrong=wrong / hits if hits else 0.0,
        interval=wilson(wrong, hits),
        seeds=tuple(round(sum(o.wrong) / max(1, sum(o.hits)), 4) for o in outcomes),
        second_half=sum(w / max(1, h) for h, w in second) / len(second),
        second_interval=wilson(late_wrong, late_hits),
        read=sum(o.asked for o in outcomes) / requests,
    )


def _second_half(outcome: Outcome) -> tuple[int, int]:
    middle = len(outcome.hits) // 2
    return sum(outcome.hits[middle:]), sum(outcome.wrong[middle:])


HEAD = (
    f"{'stream':<22}{'way':<24}{'hits':>7}{'charged':>9}{'wrong':>8}  {'95%':<14}"
    f"{'2nd half':>9}  {'95%':<14}{'seeds'}"
)


def line(row: Row) -> str:
    """A row of the table, in percent."""
    seeds = " ".join(f"{100 * s:.2f}" for s in row.seeds)
    return (
        f"{row.stream:<22}{row.way:<24}{100 * row.hits:>7.1f}{100 * row.charged:>9.1f}"
        f"{100 * row.wrong:>8.2f}  {_interval(row.interval):<14}{100 * row.second_half:>9.2f}  "
        f"{_interval(row.second_interval):<14}{seeds}"
    )


def pair_line(figures: Figures) -> str:
    """A set of pairs in one line."""
    told, cosine = figures.told, figures.cosine
    return (
        f"{figures.name:<34}{told.pairs:>6} pairs  AUC {told.auc:.3f} (cosine {cosine.auc:.3f})  "
        f"traps at 60 / 80% kept {100 * told.traps_at_60:.1f} / {100 * told.traps_at_80:.1f}% "
        f"(cosine {100 * cosine.traps_at_60:.1f} / {100 * cosine.traps_at_80:.1f}%)  vetoed "
        f"{100 * figures.vetoed_traps:.0f}% of traps, {100 * figures.vetoed_duplicates:.0f}% of "
        f"duplicates"
    )


def as_json(rows: Sequence[Row], pairs: Sequence[Figures], logs: Mapping[str, object]) -> object:
    """All of it, for `--json`."""
    return {
        "streams": [asdict(row) for row in rows],
        "pairs": [asdict(figures) for figures in pairs],
        "logs": dict(logs),
    }


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
