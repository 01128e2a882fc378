"""The ten rows of two decision matrices as workloads, and what the planners pick for each.

A preset, of `data/presets.toml`, says what the traffic is like; what follows from that is decided
by the code that decides for real requests. docs/routing.md says where both differ, and why.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from cacheserver.batches import schedule as batching
from cacheserver.core.errors import SettingsError
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.types import AUTO, Controls, Route
from cacheserver.output_caps import rules as lengths
from cacheserver.output_caps.rules import LengthHistogram
from cacheserver.promptcache import multipliers, planner
from cacheserver.promptcache.layout import minimum
from cacheserver.promptcache.multipliers import Cost, Rates
from cacheserver.promptcache.planner import Gaps, PrefixStats, Ttl
from cacheserver.routing import rules as routing
from cacheserver.routing.rules import Ask

_FILE: Final = resources.files("cacheserver.analysis.scenarios") / "data" / "presets.toml"
# As many as it takes until the planner trusts what it has seen of a prefix.
_SIGHTINGS: Final = 20.0
_BURST_S: Final = 300
_HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Pick:
    """Model tier, batching and cache lifetime for a workload."""

    tier: str | None
    batch: bool
    caching: Ttl | None = None  # None: no marks


@dataclass(frozen=True, slots=True)
class Preset:
    """A workload; the file says what each field means."""

    name: str
    row: str
    matrix: Pick
    prefix_tokens: int
    gap_s: float
    task: str | None = None
    deep: bool = False
    patience_s: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The planners' choices for a preset."""

    pick: Pick
    model: str
    reason: str  # of the route
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """An operator's settings; the defaults where nothing is."""

    routing: RoutingRules = field(default_factory=RoutingRules)
    batching: BatchRules = field(default_factory=BatchRules)
    lengths: LengthRules = field(default_factory=LengthRules)


def presets() -> tuple[Preset, ...]:
    """Return the ten rows, in the order of the matrices."""
    rows = tomllib.loads(_FILE.read_text())["presets"]
    return tuple(Preset(**{**row, "matrix": Pick(**row["matrix"])}) for row in rows)


def named(name: str) -> Preset:
    """Raises `SettingsError` if there is no preset of that name."""
    found = {preset.name: preset for preset in presets()}
    if name not in found:
        raise SettingsError(f"`{name}` is no preset; there are {', '.join(found)}")
    return found[name]


def plan(preset: Preset, cost: Cost, now: float, rules: Rules | None = None) -> Chosen:
    """Return what is picked for a workload that has run for a while, at `now`'s prices."""
    rules = rules or Rules()
    route = _route(preset, rules.routing)
    way = batching.choose(
        wait=False,
        deadline=float(preset.patience_s),
        now=0.0,
        rules=rules.batching,
        controls=Controls(),
        headroom=1.0,
        batchable=True,
    )
    cap = lengths.cap(
        {},
        open_ended=True,
        task=route.task,
        model=route.model,
        rules=rules.lengths,
        seen=LengthHistogram(),
    )
    caching = _caching(preset, route.model, multipliers.rates(cost, route.model, now))
    pick = Pick(route.tier, way == "batch", caching)
    return Chosen(pick, route.model, route.reason, None if cap is None else cap.max_tokens)


def tenant_rules(preset: Preset) -> Mapping[str, Any]:
    """Return tenant rules for such work, in the shape of `PUT /admin/v1/tenants/NAME`.

    A task with a rule is recognised where the caller does not name it. Lifetimes and batches need
    no rule: they follow the gaps that are seen and the deadlines that are given.
    """
    if preset.task is None:
        return {}
    return {"routing": {"tasks": {preset.task: {"tier": _route(preset, RoutingRules()).tier}}}}


def request_fields(preset: Preset) -> Mapping[str, Any]:
    """Return the fields of `/v1/query` and `/v1/jobs` that such work is asked with."""
    fields: dict[str, Any] = {"model": AUTO}
    if preset.task is not None:
        fields["task"] = preset.task
    if preset.deep:
        fields["requires_deep_analysis"] = True
    if preset.patience_s:
        fields["deadline"] = preset.patience_s
    return fields


def _route(preset: Preset, rules: RoutingRules) -> Route:
    return routing.choose(Ask(AUTO, preset.task, deep=preset.deep), rules, {})


def _caching(preset: Preset, model: str, rates: Rates | None) -> Ttl | None:
    """The lifetime that is worth most for a prefix that comes at such gaps; None: none is."""
    if rates is None or preset.prefix_tokens < minimum(model):
        return None
    (worth,) = planner.worths([PrefixStats(_SIGHTINGS, _gaps(preset.gap_s))], rates)
    best = max(worth, key=lambda ttl: worth[ttl])
    return best if worth[best] > 0 else None


def _gaps(gap_s: float) -> Gaps:
    if gap_s <= _BURST_S:
        return Gaps(within_5m=_SIGHTINGS)
    return Gaps(within_1h=_SIGHTINGS) if gap_s <= _HOUR_S else Gaps(later=_SIGHTINGS)
