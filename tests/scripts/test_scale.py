"""The simulation of many servers, against what queues are known to do."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.benchmarks.scale.bursts import spellings
from scripts.benchmarks.scale.simulation import Costs, Servers
from scripts.benchmarks.scale.steps import Layout, cheapest, checked, measured

MS = 1e-3


def test_clients_that_never_wait_fill_the_slowest_station() -> None:
    costs = {"exact": Costs(server=1 * MS, store=0.25 * MS)}
    for count, most in ((1, 1_000), (2, 2_000), (4, 4_000), (8, 4_000)):
        found = Servers(count, costs, {"exact": 1.0}).closed(64, 2)
        assert found.per_s == pytest.approx(most, rel=0.05)


def test_stations_share_the_cores_of_a_machine() -> None:
    costs = {"exact": Costs(server=0.5 * MS, store=0.25 * MS, load=0.25 * MS)}
    for count, most in ((1, 2_000), (2, 2_000), (4, 2_000)):
        found = Servers(count, costs, {"exact": 1.0}, cores=2).closed(64, 2)
        assert found.per_s == pytest.approx(most, rel=0.05)


def test_a_queue_is_as_long_as_theory_says() -> None:
    """Random arrivals, equal work, busy for 0.4: 60% find nobody, 99% wait for 2 to 3 others."""
    costs = {"exact": Costs(server=0.0, store=1 * MS)}
    found = Servers(1, costs, {"exact": 1.0}).open(400, 50)
    assert found.store == pytest.approx(0.4, rel=0.05)
    assert found.p50_s == pytest.approx(1 * MS)
    assert 3 * MS < found.p99_s < 4 * MS


def test_claudes_time_is_not_the_servers() -> None:
    costs = {"miss": Costs(server=2 * MS, store=1 * MS, claude=0.0, trips=2)}
    found = Servers(1, costs, {"miss": 1.0}, network_s=1 * MS, claude_s=2).open(5, 500)
    assert found.p50_s == pytest.approx(2 * MS + 1 * MS + 4 * MS, rel=0.01)


def test_what_others_do_for_a_miss_takes_their_time() -> None:
    costs = {"miss": Costs(server=1 * MS, store=0.0, claude=0.0, others=1 * MS)}
    found = Servers(4, costs, {"miss": 1.0}).closed(64, 5)
    assert found.per_s == pytest.approx(1_000, rel=0.05)  # each does 1 ms for every request


def load(kind: str, servers: int, of: int, per_s: float, **costs: float) -> dict[str, Any]:
    names = ("server_us", "store_us", "load_us", "claude_us", "other_us", "index_us")
    known = dict.fromkeys(names, 0.0)
    return {
        "what": kind,
        "value": per_s,
        "kind": kind,
        "servers": servers,
        "all": of,
        "index": "faiss",
        "p50_ms": 1.0,
        "costs": known | costs,
    }


ROWS = [
    {"what": "one embedding", "value": 1.0, "kind": "embedding", "cores": 2},
    load("exact", 1, 1, 2_000, server_us=500, store_us=50),
    load("semantic", 1, 1, 600, server_us=3_000, store_us=100),
    load("miss", 1, 1, 180, server_us=7_000, store_us=300, claude_us=1_000),
    load("miss", 2, 2, 200, server_us=7_600, store_us=320, claude_us=1_000),
    load("miss", 4, 4, 200, server_us=8_600, store_us=340, claude_us=1_000),
    load("miss", 1, 2, 170, server_us=7_100, store_us=320, claude_us=1_000, other_us=500),
]


SETS = [
    load("semantic", 1, 2, 500, server_us=3_500, store_us=120, index_us=800, other_us=10)
    | {"index": "vector-sets"},
    load("miss", 1, 2, 150, server_us=7_300, store_us=330, claude_us=1, index_us=900, other_us=100)
    | {"index": "vector-sets"},
]


def test_costs_are_read_from_figures() -> None:
    found = measured(ROWS)
    assert found.among(1)["exact"] == Costs(server=500e-6, store=50e-6)
    assert found.among(1)["miss"].others == 0
    assert found.among(2)["miss"].others == pytest.approx(500e-6)
    assert found.among(10)["miss"].store == pytest.approx((320 + 8 * 10) / 1e6)
    for place, _ in enumerate(ROWS[:4]):
        with pytest.raises(ValueError, match="scripts/bench scale"):
            measured(ROWS[:place] + ROWS[place + 1 :])


def test_a_real_run_is_held_against_its_simulation() -> None:
    rows = {one["what"]: one for one in checked(ROWS)}
    assert rows["simulated exact: error"]["met"]
    twice = {**ROWS[1], "value": 4_000}
    assert not checked([ROWS[0], twice, *ROWS[2:]])[0]["met"]


def test_more_load_takes_more_servers_and_then_more_stores() -> None:
    of, loads = measured(ROWS), (100, 1_000, 10_000)
    layouts = [cheapest(of, per_s, 100_000) for per_s in loads]
    assert layouts[0] == Layout(1, 1)
    totals = [one.groups * one.servers for one in layouts]
    assert totals == sorted(totals)
    assert layouts[-1].groups > 1
    for per_s, one in zip(loads, layouts, strict=True):
        assert one.carries(of, per_s, 100_000)
        fewer = Layout(one.groups, one.servers - 1)
        assert one.servers == 1 or not fewer.carries(of, per_s, 100_000)


def test_with_vector_sets_the_nodes_carry_what_the_servers_do_not() -> None:
    of = measured([*ROWS, *SETS])
    assert of.among(2, sets=True)["semantic"].index == pytest.approx(800e-6)
    assert of.among(2, sets=True)["miss"].others == pytest.approx(100e-6)
    assert of.among(1) == measured(ROWS).among(1)
    per_s, entries = 10_000, 100_000_000
    layout = cheapest(of, per_s, entries, sets=True)
    assert layout.nodes > 0
    assert layout.carries(of, per_s, entries)
    assert not Layout(layout.groups, layout.servers, 1).carries(of, per_s, entries)
    assert layout.groups < cheapest(of, per_s, entries).groups
    simulated = Servers(
        4, of.among(4, sets=True), {"semantic": 1.0}, nodes=2, network_s=1 * MS
    ).open(400, 50)
    assert simulated.index == pytest.approx(400 * 800e-6 / 2, rel=0.1)
    assert simulated.server == pytest.approx(400 * 3_500e-6 / 4, rel=0.1)
    assert simulated.p50_s > 3.5 * MS + 0.12 * MS + 0.8 * MS + 6 * MS


def test_memory_limits_a_group_too() -> None:
    of = measured(ROWS)
    assert not Layout(1, 1).carries(of, 1, 1_000_000_000)
    assert cheapest(of, 1, 100_000_000).groups > 1


def test_a_question_has_24_spellings() -> None:
    assert len(set(spellings("How do I reset my password?"))) == 24
