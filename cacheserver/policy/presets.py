"""The ten rows of the seeds' decision matrices, as workloads, and what our planners pick for each.

A preset says what the traffic is like; what follows from that is decided by the same code that
decides for real requests. docs/routing.md shows both columns and why they differ where they do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cacheserver.policy import batching, lengths, promptcache, promptcache_money, routing
from cacheserver.policy.fingerprint import AUTO
from cacheserver.policy.lengths import Seen
from cacheserver.policy.promptcache import Gaps, Sight, Ttl
from cacheserver.policy.promptcache_layout import minimum
from cacheserver.policy.promptcache_money import Cost, Rates
from cacheserver.policy.routing import Ask
from cacheserver.rules.batching import BatchRules
from cacheserver.rules.lengths import LengthRules
from cacheserver.rules.routing import RoutingRules
from cacheserver.types import Controls

# As many as it takes until the planner trusts what it has seen of a prefix.
_SIGHTINGS: Final = 20.0
_BURST_S: Final = 300
_HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Pick:
    """How a workload is asked."""

    tier: str | None
    caching: Ttl | None  # None: no marks
    batch: bool


@dataclass(frozen=True, slots=True)
class Preset:
    """A workload. What the seeds said of it stands in `seeds`; figures of ours are assumptions."""

    name: str
    scenario: str  # in the seeds' words
    seeds: Pick  # their caching says no lifetime: "5m" was the only one they knew
    task: str | None
    deep: bool = False
    patience_s: int = 0  # how long an answer may take; 0: somebody is waiting
    prefix_tokens: int = 1_500  # what its requests begin with in common
    gap_s: float = 60.0  # from one to the next


@dataclass(frozen=True, slots=True)
class Chosen:
    """What our planners make of a preset."""

    pick: Pick
    model: str
    reason: str  # of the route
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator has set; the defaults where nothing is."""

    routing: RoutingRules = field(default_factory=RoutingRules)
    batching: BatchRules = field(default_factory=BatchRules)
    lengths: LengthRules = field(default_factory=LengthRules)


PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        "real-time-chat",
        "Real-time user chat",
        Pick("middle", "5m", False),
        "general_chat",
        prefix_tokens=3_000,
        gap_s=20.0,
    ),
    Preset(
        "bulk-classification",
        "Bulk document classification",
        Pick("low", None, True),
        "classification",
        patience_s=86_400,
        prefix_tokens=400,
        gap_s=0.1,
    ),
    Preset(
        "deep-reasoning",
        "Complex multi-step reasoning",
        Pick("high", None, False),
        "complex_reasoning",
        deep=True,
        prefix_tokens=300,
        gap_s=7_200.0,
    ),
    Preset(
        "overnight-etl",
        "Overnight data ETL pipeline",
        Pick("middle", None, True),
        "extraction",
        patience_s=36_000,
        prefix_tokens=400,
        gap_s=1.0,
    ),
    Preset(
        "api-gateway",
        "High-frequency API gateway",
        Pick("middle", "5m", False),
        None,
        prefix_tokens=4_000,
        gap_s=1.0,
    ),
    Preset(
        "chat-interface",
        "User Chat Interface",
        Pick("middle", "5m", False),
        "general_chat",
        gap_s=600.0,
    ),
    Preset(
        "nightly-summaries",
        "Nightly Summarization",
        Pick("middle", None, True),
        "summarisation",
        patience_s=36_000,
        prefix_tokens=300,
        gap_s=1.0,
    ),
    Preset(
        "json-extraction",
        "JSON Extraction",
        Pick("low", "5m", False),
        "extraction",
        gap_s=2.0,
    ),
    Preset(
        "complex-reasoning",
        "Complex Reasoning",
        Pick("high", None, False),
        "reasoning",
        deep=True,
        prefix_tokens=300,
        gap_s=10_800.0,
    ),
    Preset(
        "code-review",
        "Code Review",
        Pick("middle", "5m", False),
        "code_review",
        prefix_tokens=2_500,
        gap_s=1_200.0,
    ),
)


def plan(preset: Preset, cost: Cost, now: float, rules: Rules | None = None) -> Chosen:
    """What is picked for a workload that has run for a while, at `now`'s prices."""
    rules = rules or Rules()
    route = routing.choose(Ask(AUTO, preset.task, deep=preset.deep), rules.routing, {})
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
        seen=Seen(),
    )
    caching = _caching(preset, route.model, promptcache_money.rates(cost, route.model, now))
    pick = Pick(route.tier, caching, way.way == "batch")
    return Chosen(pick, route.model, route.reason, None if cap is None else cap.max_tokens)


def _caching(preset: Preset, model: str, rates: Rates | None) -> Ttl | None:
    """The lifetime that is worth most for a prefix that comes at such gaps; None: none is."""
    if rates is None or preset.prefix_tokens < minimum(model):
        return None
    (worth,) = promptcache.worths([Sight(_SIGHTINGS, _gaps(preset.gap_s))], rates)
    best = max(worth, key=lambda ttl: worth[ttl])
    return best if worth[best] > 0 else None


def _gaps(gap_s: float) -> Gaps:
    if gap_s <= _BURST_S:
        return Gaps(within_5m=_SIGHTINGS)
    return Gaps(within_1h=_SIGHTINGS) if gap_s <= _HOUR_S else Gaps(later=_SIGHTINGS)
