"""Time until what one server does holds on another: answers stored, and changes acknowledged."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import httpx2

from scripts.benchmarks.processes.server import NOUNS, VERBS, body
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.scale.group import Group

Stored: TypeAlias = tuple[str, dict[str, Any]]  # id and request

ONLY_STORED = {"cache-control": "only-if-cached"}
_PATIENCE_S = 10.0
_VISIBLE_MS = 200
_WRONG_KEYS = 16  # in all: a server answers ever later, the more it gets from one address


def visibility(
    group: Group, count: int, *, first: int, under: str = ""
) -> tuple[list[dict[str, Any]], list[Stored]]:
    """Store an answer on one server, and ask the next until it serves that by similarity.

    Each question has a scope of its own, so no other answer can be served. Returns the rows, and
    the id and request of each answer. A delay includes the hit itself.
    """
    delays: list[float] = []
    stored: list[Stored] = []
    for number in range(count):
        verb, noun = VERBS[number % len(VERBS)], NOUNS[number % len(NOUNS)]
        scope = {"system": f"Answer customer {first + number}."}
        asked = {**body(f"How do I {verb} my {noun}?"), **scope}
        rephrased = {**body(f"How can I {verb} my {noun}?"), **scope}
        one = group.clients[number % len(group.clients)]
        other = group.clients[(number + 1) % len(group.clients)]
        made = _ask(one, asked)
        if made.headers["x-cache"] != "miss":
            raise RuntimeError(f"{made.status_code}, {made.headers['x-cache']}")
        began = time.perf_counter()
        while _ask(other, rephrased, ONLY_STORED).headers["x-cache"] != "semantic":
            if time.perf_counter() - began > _PATIENCE_S:
                raise RuntimeError("an answer is not found on another server")
        delays.append((time.perf_counter() - began) * 1e3)
        stored.append((made.headers["x-cache-entry"], asked))
    what = f"stored on one of {len(group.clients)} servers, found by similarity on another{under}"
    return [
        at_most(f"{what}, p99 of {count}", _p99(delays), _VISIBLE_MS, "ms"),
        row("  p50", statistics.median(delays), "ms"),
        row("  longest", max(delays), "ms"),
    ], stored


def acknowledged(
    group: Group, stored: Sequence[tuple[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Time removals and changes, and ask another server as soon as each is acknowledged."""
    rows: list[dict[str, Any]] = []
    made: dict[str, Callable[[int], tuple[float, bool]]] = {
        "a purge": lambda n: _purge(group, n, *stored[n]),
        "a revoked key": lambda n: _revoke(group, n),
        "a bar": lambda n: _bar(group, n),
    }
    for name, change in made.items():
        taken = [change(n) for n in range(len(stored))]
        took, missed = [one[0] for one in taken], sum(one[1] for one in taken)
        what = f"{name} acknowledged by {len(group.clients)} servers"
        rows += [
            row(f"{what}, p50 of {len(stored)}", statistics.median(took), "ms"),
            row("  p99", _p99(took), "ms"),
            at_most(f"{what}: not in force on another server then", missed, 0),
        ]
    return rows


def _purge(group: Group, n: int, entry: str, asked: dict[str, Any]) -> tuple[float, bool]:
    one, other = _two(group.clients, n)
    _ask(other, asked, ONLY_STORED)  # so that it is in its memory
    took = _took(lambda: one.post("/v1/purge", json={"entry_id": entry}))
    return took, _ask(other, asked, ONLY_STORED).status_code != 404


def _revoke(group: Group, n: int) -> tuple[float, bool]:
    one, _ = _two(group.admin, n)
    _, other = _two(group.clients, n)
    made = one.post("/admin/v1/keys", json={"tenant": "scale"}).json()
    key = {**ONLY_STORED, "x-api-key": made["key"]}
    _ask(other, body("Is this key accepted?"), key)
    took = _took(lambda: one.delete(f"/admin/v1/keys/{made['id']}"))
    if n >= _WRONG_KEYS:
        return took, False
    return took, _ask(other, body("Is this key accepted?"), key).status_code != 401


def _bar(group: Group, n: int) -> tuple[float, bool]:
    one, other = _two(group.admin, n)
    similarity = round(0.9 + n % 90 / 1_000, 3)
    path = "/admin/v1/tenants/default"
    took = _took(lambda: one.put(path, json={"bar": {"similarity": similarity}}))
    return took, other.get(path).json()["settings"]["bar"]["similarity"] != similarity


def _two(clients: Sequence[httpx2.Client], n: int) -> tuple[httpx2.Client, httpx2.Client]:
    return clients[n % len(clients)], clients[(n + 1) % len(clients)]


def _took(change: Callable[[], httpx2.Response]) -> float:
    """Return milliseconds until a change was acknowledged. Raises if it was not."""
    began = time.perf_counter()
    change().raise_for_status()
    return (time.perf_counter() - began) * 1e3


def _ask(
    client: httpx2.Client, asked: dict[str, Any], headers: dict[str, str] | None = None
) -> httpx2.Response:
    return client.post("/v1/messages", json=asked, headers=headers)


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(0.99 * len(times)))]
