"""Checks of health: each part's status, what was found, and what to do."""

from __future__ import annotations

import asyncio
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from cacheserver.api.components import Components
from cacheserver.api.resources.operations import servers
from cacheserver.api.resources.operations.check import Status, check
from cacheserver.api.state import AppState
from cacheserver.core.background import Rounds, rounds_of
from cacheserver.core.errors import StoreError
from cacheserver.core.times import iso
from cacheserver.observability.store_sizes import StoreSizes
from cacheserver.observability.version import installed_version
from cacheserver.storage.connection import command
from cacheserver.storage.replication import REPLICAS_DO, lacks_replicas

_WORST: Final[tuple[Status, ...]] = ("ok", "degraded", "failed")
_SLOW_MS: Final = 50  # of a write to the store: it takes under one on the same machine
_LITTLE_BYTES: Final = 1_000_000_000  # free on the disk: an index snapshot and a rewritten log
_UNSYNCED_S: Final = 10.0  # as the alert of a slow disk
_NEARLY: Final = 0.9  # of a limit that refuses, not one that makes room by itself
_WAITING_ROWS: Final = 1_000  # of the ledger; it is written within a second
_DAY_S: Final = 86_400
# Tasks that run as long as the server. If one is gone, a restart brings it back.
_TASKS: Final = ("index:keep", "store:upkeep", "ledger:keep", "gauges:keep", "live:follow")


def worst(checks: list[dict[str, Any]]) -> Status:
    return max((one["status"] for one in checks), key=_WORST.index, default="ok")


async def server_checks(state: AppState) -> list[dict[str, Any]]:
    """Check this process, or all workers of its command. Raises nothing."""
    if state.worker is None:
        return await all_checks(state.parts)
    return worst_of(await state.worker.checks())


def worst_of(workers: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the worst check of each name, that of the first worker among equals."""
    found: dict[str, dict[str, Any]] = {}
    for one in chain.from_iterable(workers):
        known = found.setdefault(one["name"], one)
        if _WORST.index(one["status"]) > _WORST.index(known["status"]):
            found[one["name"]] = one
    return list(found.values())


async def all_checks(parts: Components) -> list[dict[str, Any]]:
    """Check every part. Raises nothing."""
    return [
        await _store(parts),
        await _disk(parts),
        await _room(parts.sizes),
        _index(parts),
        _embedder(parts),
        _upstream(parts),
        _ledger(parts),
        _tasks(parts),
        await servers.check_servers(parts),
    ]


async def versions(parts: Components) -> dict[str, str]:
    """Return the versions that are running; the store's is empty while it is away."""
    try:
        info = await command(parts.host.store.redis, "INFO", "server")
    except StoreError:
        info = {}
    store = info if isinstance(info, Mapping) else {}
    return {
        "cacheserver": installed_version(),
        "python": platform.python_version(),
        "store": str(store.get("valkey_version") or store.get("redis_version") or ""),
        "prices": parts.pricer.version,
        "embedder": parts.embedder_id,
    }


async def _store(parts: Components) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        await parts.entries.entries.probe()
        ms = round((time.perf_counter() - began) * 1_000, 1)
        lacking = await lacks_replicas(parts.host.store.redis)
    except StoreError:
        do = "See that Redis or Valkey runs and takes writes; the log names what it answered."
        return check("store", "failed", "it does not take writes", do)
    do = "Bring the store nearer to the server, or look at what else uses its machine."
    state = parts.host.store.watch.state()
    lost = state.lost_at
    if lost is not None and parts.clock() - lost < _DAY_S:
        do = "Restore a backup, if the store was not emptied on purpose."
        return check("store", "degraded", f"it lost data at {iso(lost)}", do, write_ms=ms)
    if lacking is not None:
        return check("store", "degraded", lacking, REPLICAS_DO, write_ms=ms)
    return check(
        "store", "degraded" if ms > _SLOW_MS else "ok", f"a write took {ms} ms", do, write_ms=ms
    )


async def _disk(parts: Components) -> dict[str, Any]:
    state = parts.host.store.watch.state()
    folder: Path = parts.host.settings.data_dir
    try:
        free = (await asyncio.to_thread(shutil.disk_usage, folder)).free
    except OSError:
        return check("disk", "failed", f"{folder} cannot be read", "See `CACHESERVER_DATA_DIR`.")
    facts = {"free_bytes": free, "unsynced_s": round(state.unsynced_s, 1)}
    if state.failing or state.unspilled:
        do = "Look at the disk of the data directory: a power cut would lose what was not written."
        return check("disk", "failed", "it did not take what was written", do, **facts)
    if state.unsynced_s > _UNSYNCED_S:
        do = "Look at the disk of the data directory; it is busy or broken."
        return check("disk", "degraded", f"{state.unsynced_s:.0f} s are not synced", do, **facts)
    found = f"{free / 1e9:.1f} GB are free"
    do = "Make room on the disk of the data directory."
    return check("disk", "degraded" if free < _LITTLE_BYTES else "ok", found, do, **facts)


async def _room(sizes: StoreSizes) -> dict[str, Any]:
    try:
        taken = await sizes.read()
    except StoreError:
        return check("room", "failed", "the store is away", "See the check `store`.")
    facts = {
        kind: {"bytes": size, "limit_bytes": sizes.limits.get(kind)} for kind, size in taken.items()
    }
    limit = sizes.limits.get("jobs")
    if limit is not None and taken["jobs"] > _NEARLY * limit:
        do = "Raise `max_job_bytes`, or fetch and delete results: new jobs will be refused."
        return check("room", "degraded", "jobs are near their limit", do, **facts)
    return check("room", "ok", "every kind has room, or makes it", "", **facts)


def _index(parts: Components) -> dict[str, Any]:
    index = parts.index_move.as_json()
    facts = {"kind": index["kind"], "questions": index["vectors"], "scopes": index["scopes"]}
    if not parts.entries.ready:
        do = "Wait: after a start the index is read within seconds. Exact hits are served."
        return check("index", "degraded", "it is being read", do, **facts)
    if index["failing"]:
        do = "See that the Redis with the vector sets runs. Until then exact hits alone are served."
        return check("index", "degraded", "it does not answer", do, **facts)
    if index["problem"] is not None:
        do = f"{index['problem']}. It is tried again by itself."
        return check("index", "degraded", "it cannot be moved", do, **facts)
    if index["moving_to"] is not None:
        found = f"{index['done']:,} of {index['total']:,} questions moved to {index['moving_to']}"
        return check("index", "ok", found, "", **facts)
    return check("index", "ok", f"{index['vectors']:,} questions", "", **facts)


def _embedder(parts: Components) -> dict[str, Any]:
    state = parts.reembedding.as_json()
    facts = {"id": state["id"], "left": state.get("left"), "lacking": state["lacking"]}
    if state["model_missing"]:
        do = "Make or install the model (docs/embedders.md), and restart the server."
        found = "there is no model: questions are matched exactly only"
        return check("embedder", "degraded", found, do, **facts)
    if state["model_changed"]:
        do = "Set `CACHESERVER_EMBEDDER_MODEL` to another name, or put the old model back."
        return check("embedder", "failed", "another model is behind the endpoint", do, **facts)
    if state["lacking"] or state["changing"]:
        do = "Wait: stored questions are embedded behind the requests."
        return check("embedder", "degraded", "some questions have no vector yet", do, **facts)
    return check("embedder", "ok", "every stored question has its vector", "", **facts)


def _upstream(parts: Components) -> dict[str, Any]:
    claude = parts.upstream
    breaker = claude.breaker.state(claude.clock())
    slots = claude.slots
    facts = {
        "breaker": breaker,
        "in_flight": slots.in_flight,
        "waiting": slots.waiting,
        "limit": slots.limit,
        "limits_left": round(claude.headroom.least(parts.clock()), 3),
    }
    if breaker == "open":
        do = "See Claude's status page and the key; a probe is made by itself. Hits are served."
        return check("upstream", "failed", "Claude fails and is not asked", do, **facts)
    if breaker == "half-open":
        return check("upstream", "degraded", "a probe is due", "Wait for it.", **facts)
    if slots.full:
        do = "Raise `max_waiting`, or `CACHESERVER_MAX_CONCURRENT` if Claude's limits allow it."
        return check("upstream", "degraded", "new calls are turned away", do, **facts)
    found = f"{slots.in_flight} of {slots.limit} calls in flight, {slots.waiting} waiting"
    return check("upstream", "ok", found, "", **facts)


def _ledger(parts: Components) -> dict[str, Any]:
    waiting, lost = parts.ledger.waiting, parts.ledger.overflowed
    facts = {"waiting_rows": waiting, "lost_rows": lost}
    if lost:
        do = "Rows were dropped while the store was away: compare with Claude's invoice."
        return check("ledger", "failed", f"{lost} rows were lost since the start", do, **facts)
    if waiting > _WAITING_ROWS:
        do = "See the check `store`: rows wait until it takes them."
        return check("ledger", "degraded", f"{waiting} rows wait", do, **facts)
    return check("ledger", "ok", f"{waiting} rows wait", "", **facts)


def _tasks(parts: Components) -> dict[str, Any]:
    """Check that the tasks of the server run, and how the last round of each ended."""
    wanted = [*_TASKS, *(("alerts:watch", "alerts:send") if parts.capabilities.alerts else ())]
    running = {task.get_name(): task for task in asyncio.all_tasks()}
    gone = [name for name in wanted if name not in running]
    rounds = [
        _round(name, ended, time.monotonic())
        for name, task in sorted(running.items())
        if (ended := rounds_of(task)) is not None
    ]
    facts = {"running": [name for name in wanted if name in running], "rounds": rounds}
    if gone:
        do = "Restart the server, and report what the log says of it."
        return check("tasks", "failed", f"ended: {', '.join(gone)}", do, ended=gone, **facts)
    if failing := [f"{one['task']} ({one['error']})" for one in rounds if one["error"] is not None]:
        do = "See the log: each tries again in its next round. If the store is away, it is that."
        found = f"the last round failed: {', '.join(failing)}"
        return check("tasks", "degraded", found, do, **facts)
    return check("tasks", "ok", f"{len(wanted)} background tasks run", "", **facts)


def _round(name: str, ended: Rounds, now: float) -> dict[str, Any]:
    """Return the rounds of a task as JSON. `now` is of the monotonic clock."""
    return {
        "task": name,
        "last_s": round(now - ended.ended_at, 1),
        "took_ms": round(ended.took_s * 1_000, 1),
        "rounds": ended.done,
        "failed": ended.failed,
        "error": ended.error,
    }
