"""Metrics of several processes added up, as if one had counted all of it. Pure.

    merged counter, histogram = sum over the processes, those that have ended included
    merged gauge              = sum, least or greatest, by what it counts

Families travel between processes as JSON: name, type, help, and samples of name, labels and value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Families: TypeAlias = list[list[Any]]  # [name, type, help, [[sample name, labels, value], ...]]

# Each process has its own; those of the store, of budgets and of labels are the same in each.
_SUMMED: Final = frozenset(
    {
        *("cacheserver_connections", "cacheserver_ledger_waiting_rows", "cacheserver_memory_bytes"),
        *("cacheserver_tasks", "cacheserver_upstream_slots", "process_max_fds", "process_open_fds"),
        *("process_resident_memory_bytes", "process_virtual_memory_bytes"),
    }
)
_LEAST: Final = frozenset({"cacheserver_lease_held", "process_start_time_seconds"})
_CREATED: Final = "_created"  # ends the name of the sample that says since when is counted


def exported(families: Iterable[Metric]) -> Families:
    """Return families as JSON."""
    return [
        [
            one.name,
            one.type,
            one.documentation,
            [[sample.name, sample.labels, sample.value] for sample in one.samples],
        ]
        for one in families
    ]


def counted(families: Families) -> Families:
    """Return what is left of a process that has ended: what it counted, and no gauge."""
    return [one for one in families if one[1] in ("counter", "histogram")]


def merged(processes: Sequence[Families]) -> list[Metric]:
    """Return the metrics of several processes as those of one; in the order of the first."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[tuple[Any, ...], float]] = {}
    for families in processes:
        for name, kind, help, samples in families:
            if name not in found:
                found[name] = Metric(name, help, kind)
            sums = values.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, *sorted(labels.items()))
                sums[key] = _rule(name, kind, sample)(sums[key], value) if key in sums else value
    for name, metric in found.items():
        metric.samples = [
            Sample(key[0], dict(key[1:]), value) for key, value in values[name].items()
        ]
    return list(found.values())


def _rule(family: str, kind: str, sample: str) -> Callable[[float, float], float]:
    if sample.endswith(_CREATED) or family in _LEAST:
        return min
    if kind in ("counter", "histogram") or family in _SUMMED:
        return _sum
    return _greatest


def _sum(one: float, other: float) -> float:
    return one + other


def _greatest(one: float, other: float) -> float:
    return one if math.isnan(other) or one > other else other  # NaN: not known there


class Merged(Collector):
    """Families to render, as `generate_latest` takes them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
