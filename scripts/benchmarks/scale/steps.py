"""The simulation against real servers, and what it says of many more than this machine can run.

Rule: what is carried on is a measured cost of one request; every other number is an assumption,
named here and printed with the figures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.scale.simulation import Costs, Servers
from scripts.benchmarks.scale.throughput import CLIENTS

_ERROR = 0.35  # of requests a second: Python's threads take turns, which is not simulated
_SIMULATED_S = 5.0
_NO_CALLS_US = 100  # of Claude's CPU for a request: below it, it was not asked

# Half of the requests are answered from the cache.
_SHARE = {"exact": 0.35, "semantic": 0.15, "miss": 0.5}
_NETWORK_S = 0.25e-3  # one way, within a zone
_CLAUDE_S = 2.0  # until Claude has answered
_FULL = 0.7  # of a core: beyond it queues, and with them p99, grow quickly
_ENTRY_STORE, _ENTRY_SERVER = 2_900, 1_400  # bytes (docs/operating.md, vector-sets.md)
_ENTRY_SETS, _ENTRY_COMPARED = 1_420, 40  # with vector sets: of their node, of a server that starts
_SERVER_BYTES, _STORE_BYTES = 4e9, 50e9  # of one server (a core's share of a machine), of a store
# US dollars an hour, on demand, as in November 2026 at a large cloud: a core with 4 GB; a node of a
# store, of which there are two (a replica), without and for each GB of its memory.
_SERVER_USD, _NODE_USD, _GB_USD, _NODES = 0.05, 0.1, 0.008, 2
_MONTH_H = 730
_BEAT_S = 0.3e-3  # of the store's time, each second, for each server's lease (docs/scaling.md)
_TARGETS = (  # requests a second, entries
    (50, 100_000),
    (200, 1_000_000),
    (1_000, 2_000_000),
    (10_000, 10_000_000),
    (100_000, 100_000_000),
    (1_000_000, 1_000_000_000),
)
_REQUESTS = 20_000  # simulated for a step
_MOST = 256  # servers on one store
_DOUBLINGS = 14  # of the stores


@dataclass(frozen=True, slots=True)
class Measured:
    alone: Mapping[str, Costs]  # of one server, by kind
    of_two: Costs  # of a miss on one of two: with its lease, and what the other one does for it
    more_store: float  # seconds of the store for a miss and each server beyond two
    with_sets: Mapping[str, Costs]  # on one of two that have the vectors in sets; empty: unknown

    def among(self, servers: int, *, sets: bool = False) -> Mapping[str, Costs]:
        """Return the costs of a request that meets one of so many servers."""
        if servers == 1 and not sets:
            return self.alone
        miss = self.with_sets["miss"] if sets else self.of_two
        more = self.more_store * max(0, servers - 2)
        semantic = self.with_sets["semantic"] if sets else self.alone["semantic"]
        return {
            **self.alone,
            "semantic": replace(semantic, others=0.0),
            "miss": replace(miss, store=miss.store + more),
        }


def measured(rows: Sequence[Mapping[str, Any]]) -> Measured:
    """Read costs from the rows of `scale`. Raises `ValueError` if there are none."""
    costs = [one for one in rows if "costs" in one]
    found = {
        (one["kind"], one["servers"], one["all"]): one["costs"]
        for one in costs
        if one["index"] == "faiss"
    }
    sets = {one["kind"]: one["costs"] for one in costs if one["index"] == "vector-sets"}
    embeddings = [one["value"] / 1e3 for one in rows if one.get("kind") == "embedding"]
    try:
        alone = {
            "exact": _costs(found["exact", 1, 1], 0.0, trips=1),
            "semantic": _costs(found["semantic", 1, 1], embeddings[0], trips=2),
            "miss": replace(_costs(found["miss", 1, 1], embeddings[0], trips=2), others=0.0),
        }
        of_two = _costs(found["miss", 1, 2], embeddings[0], trips=2)
        two, four = (found["miss", count, count]["store_us"] / 1e6 for count in (2, 4))
    except (KeyError, IndexError):
        raise ValueError("no figures of `scripts/bench scale` in it") from None
    with_sets = {kind: _costs(one, embeddings[0], trips=2) for kind, one in sets.items()}
    return Measured(alone, of_two, max(0.0, (four - two) / 2), with_sets)


def _costs(us: Mapping[str, float], embedding: float, *, trips: int) -> Costs:
    return Costs(
        server=us["server_us"] / 1e6,
        store=us["store_us"] / 1e6,
        embedding=embedding,
        load=us["load_us"] / 1e6,
        claude=us["claude_us"] / 1e6 if us["claude_us"] > _NO_CALLS_US else None,
        others=us["other_us"] / 1e6,
        index=us["index_us"] / 1e6,
        trips=trips,
    )


def checked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Simulate the real runs, each with the costs measured in it, and compare requests a second.

    The costs of a hit grow with the processes that share this machine's cores, which is a property
    of the machine: what is checked is how requests wait for each other.
    """
    embedding, cores = measured(rows).alone["miss"].embedding, rows[0]["cores"]
    out: list[dict[str, Any]] = []
    for real in rows:
        if "costs" not in real or real["servers"] != real["all"]:  # the others rest
            continue
        kind, count = real["kind"], real["servers"]
        exact = kind == "exact"
        costs = _costs(real["costs"], 0.0 if exact else embedding, trips=1 if exact else 2)
        servers = Servers(count, {kind: replace(costs, others=0.0)}, {kind: 1.0}, cores=cores)
        result = servers.closed(CLIENTS, _SIMULATED_S)
        error = result.per_s / real["value"] - 1
        out += [
            at_most(f"simulated {real['what']}: error", abs(error), _ERROR),
            row("  simulated", result.per_s, "/s"),
            row("  measured", real["value"], "/s"),
            row("  simulated p50", result.p50_s * 1e3, "ms"),
            row("  measured p50", real["p50_ms"], "ms"),
        ]
    return out


@dataclass(frozen=True, slots=True)
class Layout:
    """Equal groups: each has servers on a store of its own, and a part of the tenants."""

    groups: int
    servers: int  # of a group
    nodes: int = 0  # of a group, with the vectors; 0: the servers have them

    def costs(self, of: Measured) -> Mapping[str, Costs]:
        return of.among(self.servers, sets=self.nodes > 0)

    def shares(self, of: Measured, per_s: float, entries: int) -> dict[str, float]:
        """Return how full the parts of a group are; 1 is a whole core, or all memory."""
        each, count = per_s / self.groups, self.servers
        costs, miss = self.costs(of), _SHARE["miss"]
        own = sum(share * costs[kind].server for kind, share in _SHARE.items()) * each / count
        others = miss * costs["miss"].others * each * (count - 1) / count
        store = sum(share * costs[kind].store for kind, share in _SHARE.items()) * each
        stored = entries / self.groups
        if self.nodes:
            index = sum(share * costs[kind].index for kind, share in _SHARE.items()) * each
            of_nodes = {
                "an index node's core": index / self.nodes,
                "an index node's memory": stored * _ENTRY_SETS / self.nodes / _STORE_BYTES,
            }
        else:
            of_nodes = {}
        in_server = _ENTRY_COMPARED if self.nodes else _ENTRY_SERVER
        return {
            "a server's own requests": own,
            "a server's share of the others' answers": others,
            "the store's core": store + _BEAT_S * count,
            "a server's memory": stored * in_server / _SERVER_BYTES,
            "the store's memory": stored * _ENTRY_STORE / _STORE_BYTES,
            **of_nodes,
        }

    def usd(self, entries: int) -> float:
        """Return dollars a month for servers and stores, without what Claude costs."""
        entry = _ENTRY_STORE + (_ENTRY_SETS if self.nodes else 0)
        memory_gb = _NODES * entries * entry / 1e9
        nodes = _NODES * (1 + self.nodes)
        hour = self.groups * (self.servers * _SERVER_USD + nodes * _NODE_USD)
        return _MONTH_H * (hour + memory_gb * _GB_USD)

    def carries(self, of: Measured, per_s: float, entries: int) -> bool:
        own, others, *rest = self.shares(of, per_s, entries).items()
        cores = [own[1] + others[1], *(share for name, share in rest if name.endswith("core"))]
        memory = [share for name, share in rest if name.endswith("memory")]
        return max(cores) <= _FULL and max(memory) <= 1


def cheapest(of: Measured, per_s: float, entries: int, *, sets: bool = False) -> Layout:
    """Return the layout that carries a load for the least money. `sets`: with vector sets."""
    found: list[Layout] = []
    for groups in (2**n for n in range(_DOUBLINGS)):
        nodes = _nodes(of, per_s / groups, entries / groups) if sets else 0
        counts = (Layout(groups, servers, nodes) for servers in range(1, _MOST + 1))
        fitting = (one for one in counts if one.carries(of, per_s, entries))
        found += itertools.islice(fitting, 1)
    return min(found, key=lambda one: one.usd(entries))


def _nodes(of: Measured, per_s: float, entries: float) -> int:
    """Return how many nodes the vectors of a group need, by their core and by their memory."""
    core = sum(_SHARE[kind] * one.index for kind, one in of.with_sets.items()) * per_s
    return max(1, math.ceil(core / _FULL), math.ceil(entries * _ENTRY_SETS / _STORE_BYTES))


def carried(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lay out and simulate ever more load; name what is fullest at each step."""
    of = measured(rows)
    out: list[dict[str, Any]] = []
    for (per_s, entries), sets in itertools.product(_TARGETS, (False, True)):
        if sets and not of.with_sets:
            continue
        layout = cheapest(of, per_s, entries, sets=sets)
        shares = layout.shares(of, per_s, entries)
        own, others, *rest = shares.values()
        full = {"a server's core": own + others, **dict(zip([*shares][2:], rest, strict=True))}
        fullest = max(full, key=lambda name: full[name])
        group_per_s = per_s / layout.groups
        costs = {
            kind: replace(one, load=0.0, claude=None if one.claude is None else 0.0)
            for kind, one in layout.costs(of).items()
        }
        servers = Servers(
            layout.servers,
            costs,
            _SHARE,
            layout.nodes,
            network_s=_NETWORK_S,
            claude_s=_CLAUDE_S,
        )
        result = servers.open(group_per_s, max(6 * _CLAUDE_S, _REQUESTS / group_per_s))
        total = layout.groups * layout.servers
        where = ", vector sets" if sets else ""
        what = f"{per_s:,} requests/s, {entries:,} entries{where}: servers"
        out += [
            row(what, total),
            row("  stores", layout.groups),
            *([row("  index nodes", layout.groups * layout.nodes)] if sets else ()),
            row("  a month, without Claude", layout.usd(entries), "USD"),
            row(f"  fullest: {fullest}", full[fullest]),
            *(row(f"  {name}", share) for name, share in shares.items()),
            row("  simulated: requests of a group", result.per_s, "/s"),
            row("  simulated: p50 beyond Claude's time", result.p50_s * 1e3, "ms"),
            row("  simulated: p99 beyond Claude's time", result.p99_s * 1e3, "ms"),
            row("  simulated: busiest server", result.server),
            row("  simulated: store", result.store),
            *([row("  simulated: busiest index node", result.index)] if sets else ()),
        ]
    return out
