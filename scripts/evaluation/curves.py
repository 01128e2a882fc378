"""The figures as pictures. Needs matplotlib, which nothing else does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only; there may be no screen

from matplotlib import pyplot

from scripts.evaluation import logs, pairs
from scripts.evaluation.report import Found, Row

# Colours that stay apart in grey and to most eyes (Okabe and Ito).
_OURS, _ORANGE, _GREY, _GREEN, _RED = "#0072B2", "#D55E00", "#777777", "#009E73", "#CC79A7"
_STATED = (0.75, 0.80, 0.85, 0.90, 0.95)  # cosines named in the picture; more would overlap
_LEAST = 0.05  # percent: where a share of 0 stands on a logarithmic axis
_DOTS = 130  # an inch


@dataclass(frozen=True, slots=True)
class _Scheme:
    """The colours of a picture that a page shows in light or in dark."""

    suffix: str = ""
    ours: str = _OURS
    other: str = _GREY
    rules: dict[str, str] = field(default_factory=dict)  # of matplotlib


_DARK_GROUND, _DARK_INK = "#131416", "#cfd0d0"  # of the site's dark theme, Furo's
_SCHEMES = (
    _Scheme(),
    _Scheme(
        "-dark",
        ours="#56B4E9",  # Okabe and Ito's lighter blue
        other="#a0a0a0",
        rules={
            **dict.fromkeys(
                ("figure.facecolor", "axes.facecolor", "savefig.facecolor"), _DARK_GROUND
            ),
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), _DARK_INK),
            **dict.fromkeys(("xtick.color", "ytick.color", "grid.color"), _DARK_INK),
        },
    ),
)


def draw(found: Found, to: Path) -> Iterator[Path]:
    """Write the pictures into the folder `to`; yields each that there are figures for."""
    to.mkdir(parents=True, exist_ok=True)
    rows = found.streams
    compared = list(dict.fromkeys(row.stream for row in rows if row.way.startswith("static")))
    for scheme in _SCHEMES if compared else ():
        with pyplot.rc_context(scheme.rules):
            yield _streams(compared, rows, to / f"streams{scheme.suffix}.png", scheme)
    if any(row.way.startswith("ours") for row in rows):
        yield _targets(rows, to / "targets.png")
    if found.pairs:
        yield _pairs(found.pairs, to / "pairs.png")
    if found.logs:
        yield _log(found.logs[0], to / "log.png")


def _streams(names: Sequence[str], rows: Sequence[Row], to: Path, scheme: _Scheme) -> Path:
    """Plot the hit share of each way against its share of wrong hits."""
    figure, panels = _panels(len(names), "Hits against wrong hits, every way on the same requests")
    for panel, name in zip(panels, names, strict=True):
        mine = [row for row in rows if row.stream == name]
        static = sorted((r for r in mine if r.way.startswith("static")), key=lambda r: r.hits)
        _line(panel, static, "o-", scheme.other, "a threshold on the cosine")
        _line(panel, _ours(mine), "D-", scheme.ours, "cacheserver, by error target")
        for way, mark, colour in (("GPTCache", "X", _RED), ("vCache", "^", _GREEN)):
            _line(panel, [r for r in mine if r.way.startswith(way)], mark, colour, None)
        for row in _ours(mine):
            _note(panel, row, f"{100 * (row.target or 0):g}%", below=True, color=scheme.ours)
        for row in static:
            cosine = float(row.way.split()[1])
            if cosine in _STATED:
                _note(panel, row, row.way.removeprefix("static "), color=scheme.other)
        for row in mine:
            if row.way.startswith("vCache"):
                _note(panel, row, row.way, below=True)
            if row.way.startswith("GPTCache"):
                _note(panel, row, row.way)
            if row.way == "perfect decision":
                panel.axvline(100 * row.hits, color=_ink(), linestyle=":", linewidth=1)
                panel.text(
                    100 * row.hits - 1,
                    0.07,
                    "perfect decision",
                    rotation=90,
                    ha="right",
                    fontsize=8,
                )
        panel.set(title=name, xlabel="hits by similarity, % of requests", xlim=(0, 100))
        panel.set_ylabel("wrong, % of hits (bars: 95%)")
        _percent_scale(panel, (_LEAST, 60))
    return _save(figure, panels, to)


def _note(
    panel: Any, row: Row, text: str, *, below: bool = False, color: str | None = None
) -> None:
    """Write beside a dot: below it to the right, or above it to the left."""
    panel.annotate(
        text, (100 * row.hits, _shown(row.wrong)), xytext=(6, -11) if below else (-6, 5),
        textcoords="offset points", ha="left" if below else "right", fontsize=9,
        color=color or _ink(),
    )  # fmt: skip


def _ink() -> str:
    return str(pyplot.rcParams["text.color"])


def _targets(rows: Sequence[Row], to: Path) -> Path:
    """Plot the share of wrong hits in the second half of each stream against the target."""
    mine = [row for row in rows if row.way.startswith("ours")]
    bases = list(dict.fromkeys(_base(row.stream) for row in mine))
    figure, panels = _panels(len(bases), "Is the target kept? Wrong hits on the second half")
    for panel, base in zip(panels, bases, strict=True):
        kinds = dict.fromkeys(r.stream for r in mine if _base(r.stream) == base)
        for i, name in enumerate(kinds):
            chosen = _ours([row for row in mine if row.stream == name])
            # Side by side, or the bars of one target would hide each other.
            at = [100 * (r.target or 0) * (1 + 0.06 * (i - (len(kinds) - 1) / 2)) for r in chosen]
            reach = [_reach(row.second_half, row.second_interval) for row in chosen]
            kind = name.removeprefix(base).lstrip(", ") or "as it is"
            panel.errorbar(
                at, [_shown(row.second_half) for row in chosen],
                yerr=([low for low, _ in reach], [high for _, high in reach]),
                fmt="o", color=_kind_colour(kind), markersize=4.5,
                capsize=2, linewidth=1, label=kind,
            )  # fmt: skip
        panel.plot((0.4, 16), (0.4, 16), color="black", linewidth=0.8)
        panel.fill_between((0.4, 16), (0.4, 16), 60, color=_RED, alpha=0.10, linewidth=0)
        panel.text(0.56, 22, "missed", fontsize=9, color="#993366")
        panel.set_xscale("log")
        panel.set_xticks([0.5, 1, 2, 5, 10], ["0.5%", "1%", "2%", "5%", "10%"])
        panel.minorticks_off()
        panel.set(title=base, xlabel="target", ylabel="wrong, % of hits (bars: 95%)")
        panel.set_xlim(0.4, 16)
        _percent_scale(panel, (_LEAST, 60))
    return _save(figure, panels, to, columns=5)


def _base(stream: str) -> str:
    """The stream that others are made of, by mixing or drawing."""
    return stream.split(" +")[0].removesuffix(", zipf")


def _kind_colour(kind: str) -> str:
    kinds = {"as it is": _OURS, "zipf": _GREEN, "+1% traps": "#E69F00", "+5% traps": _ORANGE}
    return kinds.get(kind, _RED)


def _pairs(found: Sequence[pairs.Figures], to: Path) -> Path:
    """Duplicates kept against traps served, for each set."""
    names = list(dict.fromkeys(one.name for one in found))
    figure, panels = _panels(len(names), "Pairs: traps served for the duplicates kept")
    marks = (
        ("cosine", "o-", _GREY),
        ("words", "D-", _OURS),
    )
    for panel, name in zip(panels, names, strict=True):
        for way, mark, colour in marks:
            for one in (f for f in found if f.name == name and f.way == way):
                # A veto is final: what it refuses no bar can keep.
                most = 1 - one.vetoed_duplicates
                shown = [(100 * x, 100 * y) for x, y in one.curve if x <= most] or [(0.0, 0.0)]
                x, y = zip(*shown, strict=True)
                panel.plot(x, y, mark, color=colour, label=way, markersize=3, linewidth=1.2)
        panel.axvline(100 * pairs.KEPT, color="black", linewidth=0.8, alpha=0.4)
        panel.set(
            title=name, xlabel="duplicates kept, %", ylabel="traps served, %", xlim=(0, 100),
            ylim=(0, 100),
        )  # fmt: skip
    return _save(figure, panels, to, columns=5)


def _log(found: logs.Figures, to: Path) -> Path:
    """Plot the share of requests answered by each tier, by day."""
    figure, (panel,) = _panels(1, f"{found.name}: {found.requests:,} requests of a log, by day")
    days = [day for day, _, _ in found.days]
    below = [0.0] * len(days)
    for tier, colour in zip(logs.TIERS, (_GREY, _GREEN, _OURS), strict=True):
        shares = [100 * by_tier[tier] for _, _, by_tier in found.days]
        label = {"exact": "same text", "folded": "same but for case and blanks"}.get(
            tier, "similar (right or wrong is not known)"
        )
        panel.bar(range(len(days)), shares, bottom=below, color=colour, label=label)
        below = [b + s for b, s in zip(below, shares, strict=True)]
    every = max(1, len(days) // 8)
    panel.set_xticks(range(0, len(days), every), [day[5:] for day in days[::every]])
    panel.set(xlabel="day", ylabel="answered from the cache, %", ylim=(0, 100))
    other = panel.twinx()
    other.plot(range(len(days)), [count for _, count, _ in found.days], ".-", color="black")
    other.set_ylabel("requests a day (dots)")
    other.set_ylim(bottom=0)
    return _save(figure, [panel], to)


def _ours(rows: Sequence[Row]) -> list[Row]:
    mine = [row for row in rows if row.way.startswith("ours")]
    return sorted(mine, key=lambda row: row.target or 0)


def _line(panel: Any, rows: Sequence[Row], mark: str, colour: str, label: str | None) -> None:
    if not rows:
        return
    reach = [_reach(row.wrong, row.interval) for row in rows]
    panel.errorbar(
        [100 * row.hits for row in rows],
        [_shown(row.wrong) for row in rows],
        yerr=([low for low, _ in reach], [high for _, high in reach]),
        fmt=mark, color=colour, label=label, markersize=5, linewidth=1.2, capsize=2,
    )  # fmt: skip


def _reach(share: float, interval: tuple[float, float]) -> tuple[float, float]:
    """Lengths of an error bar in percent; the mean over seeds may lie outside the pooled one."""
    at = _shown(share)
    return max(0.0, at - _shown(interval[0])), max(0.0, min(100 * interval[1], 60.0) - at)


def _shown(share: float) -> float:
    return max(_LEAST, 100 * share)


def _percent_scale(panel: Any, limits: tuple[float, float]) -> None:
    panel.set_yscale("log")
    panel.set_ylim(*limits)
    panel.set_yticks(
        [_LEAST, 0.1, 0.5, 1, 2, 5, 10, 50],
        ["0 to 0.05", "0.1", "0.5", "1", "2", "5", "10", "50"],
    )
    panel.minorticks_off()


def _panels(count: int, title: str) -> tuple[Any, list[Any]]:
    across = min(count, 3)
    down = -(-count // across)
    figure, axes = pyplot.subplots(
        down, across, figsize=(5.2 * max(across, 1.6), 4.3 * down + 0.9), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    figure.suptitle(title, fontsize=13)
    panels = [panel for line in axes for panel in line]
    for spare in panels[count:]:
        spare.set_axis_off()
    for panel in panels[:count]:
        panel.grid(alpha=0.25)
        panel.set_axisbelow(True)
    return figure, panels[:count]


def _save(figure: Any, panels: Sequence[Any], to: Path, columns: int = 3) -> Path:
    """One legend for all panels."""
    labelled: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            labelled.setdefault(label, handle)
    figure.legend(
        labelled.values(), labelled.keys(), loc="outside lower center", ncols=columns, fontsize=9
    )
    figure.savefig(to, dpi=_DOTS)
    pyplot.close(figure)
    return to
