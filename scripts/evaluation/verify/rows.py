"""Replays with verification as rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.matching.conformal_bound import wilson
from scripts.evaluation import windows
from scripts.evaluation.stream import Replay


@dataclass(frozen=True, slots=True)
class Row:
    """One stream and one verifying model, all seeds together. Shares are 0..1."""

    stream: str
    model: str
    target: float
    requests: int
    exact: float  # share of the requests
    hits: float  # share of the requests served by similarity, verified ones included
    wrong: float  # share of `hits`, all seeds as one sample
    interval: tuple[float, float]  # Wilson, 95%
    verified: float  # share of the requests
    verified_wrong: float  # share of the verified hits
    calls: float  # to the verifying model, a request
    candidates: float  # in a call
    audits: float  # calls a request
    off: int  # seeds in which audits switched verification off
    over: tuple[int, int]  # (windows with more wrong hits than chance explains, windows)
    seeds: tuple[tuple[float, float], ...]  # (hits, wrong) of each


def row(stream: str, model: str, target: float, replays: Sequence[Replay]) -> Row:
    """Return the row of finished replays, one a seed."""
    outcomes = [one.outcome for one in replays]
    requests = sum(len(o.hits) for o in outcomes)
    hits, wrong = sum(sum(o.hits) for o in outcomes), sum(sum(o.wrong) for o in outcomes)
    verified = sum(sum(o.verified) for o in outcomes)
    both = sum(v and w for o in outcomes for v, w in zip(o.verified, o.wrong, strict=True))
    calls = sum(sum(o.asked) for o in outcomes)
    looked = [one for o in outcomes for one in windows.windows(o.hits, o.wrong, target)]
    return Row(
        stream=stream,
        model=model,
        target=target,
        requests=requests,
        exact=sum(sum(o.exact) for o in outcomes) / requests,
        hits=hits / requests,
        wrong=wrong / max(1, hits),
        interval=wilson(wrong, hits),
        verified=verified / requests,
        verified_wrong=both / max(1, verified),
        calls=calls / requests,
        candidates=sum(one.step.candidates for one in replays if one.step) / max(1, calls),
        audits=sum(sum(o.audited) for o in outcomes) / requests,
        off=sum(one.step is not None and one.step.off for one in replays),
        over=(sum(one.over for one in looked), len(looked)),
        seeds=tuple(
            (_share(sum(o.hits), len(o.hits)), _share(sum(o.wrong), sum(o.hits))) for o in outcomes
        ),
    )


HEAD = (
    f"{'stream':<24}{'verifier':<28}{'exact':>6}{'hits':>6}{'wrong':>7}  {'95%':<14}{'verified':>9}"
    f"{'wrong':>7}{'calls':>7}{'each':>6}{'audits':>8}{'off':>5}{'windows':>9}  by seed"
)


def line(row: Row) -> str:
    """Return a row of the table; shares in percent, calls and audits a request."""
    seeds = " ".join(f"{100 * hits:.1f}/{100 * wrong:.2f}" for hits, wrong in row.seeds)
    interval = f"[{100 * row.interval[0]:.2f}, {100 * row.interval[1]:.2f}]"
    return (
        f"{row.stream:<24}{row.model:<28}{100 * row.exact:>6.1f}{100 * row.hits:>6.1f}"
        f"{100 * row.wrong:>7.2f}  {interval:<14}{100 * row.verified:>9.1f}"
        f"{100 * row.verified_wrong:>7.2f}{row.calls:>7.2f}{row.candidates:>6.2f}"
        f"{row.audits:>8.3f}{row.off:>5}{row.over[0]:>5}/{row.over[1]:<3}  {seeds}"
    )


def _share(part: int, whole: int) -> float:
    return round(part / max(1, whole), 4)
