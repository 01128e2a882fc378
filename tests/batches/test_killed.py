"""Killed with -9 at every step, a server that comes back answers everything once, paid for once.

And books it once: of the tenant's budget is spent what Claude billed, and nothing stays held.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.batches import job_scripts
from cacheserver.budgets import scripts
from cacheserver.embedded.process import find_server
from cacheserver.ledger import scripts as ledgerscripts
from cacheserver.simulated import Simulated, SimulatedSettings
from cacheserver.storage.connection import PREFIX, Connection, connect
from tests.batches.house import Gatekeeper, item
from tests.house import ADMIN_KEY, serving
from tests.redis_servers import serving as serving_redis

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    name: text
    for name, text in vars(job_scripts).items()
    if name.isupper() and isinstance(text, str) and name != "PRELUDE"
} | {"RESERVE": scripts.RESERVE, "FOLD": ledgerscripts.FOLD}
NAMES = {hashlib.sha1(text.encode()).hexdigest().encode(): n for n, text in SCRIPTS.items()}


@dataclass
class BatchConnection:
    """Stands between the server and the store; stops at the `nth` run of a script."""

    target: str
    script: str = ""
    nth: int = 1
    when: str = "before"
    seen: Counter[str] = field(default_factory=Counter)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, script: str, nth: int, when: str) -> None:
        self.script, self.nth, self.when = script, nth, when
        self.seen.clear()
        self.reached = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_unix_connection(self.target)

        async def answers() -> None:
            while chunk := await back_reader.read(65_536):
                writer.write(chunk)

        relay = asyncio.create_task(answers())
        try:
            while command := await _command(reader):
                if self._is_it(command):
                    if self.when == "after":
                        await self._run(command)
                    self.reached.set()
                    # Nothing goes on from here: replies are told apart by their order.
                    while await reader.read(1 << 20):
                        pass
                    break
                back_writer.write(command)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            relay.cancel()
            for each in (writer, back_writer):
                each.close()

    async def _run(self, command: bytes) -> None:
        """Have a command done, and nobody told: its reply is not among the others."""
        reader, writer = await asyncio.open_unix_connection(self.target)
        writer.write(command)
        assert not (await reader.readline()).startswith(b"-")
        writer.close()

    def _is_it(self, command: bytes) -> bool:
        if b"EVALSHA" in command:
            name = next((name for digest, name in NAMES.items() if digest in command), "")
        elif b"HSET" in command and b"cs1:lp\r" in command:
            name = "ROWS"  # of the ledger, before they are folded
        else:
            return False
        self.seen[name] += 1
        return bool(name) and name == self.script and self.seen[name] == self.nth


async def _command(reader: asyncio.StreamReader) -> bytes:
    """One command, b"" at the end: on a busy machine several come in one chunk."""
    if not (head := await reader.readline()):
        return b""
    parts = [head]
    for _ in range(int(head[1:])):
        parts.append(size := await reader.readline())
        parts.append(await reader.readexactly(int(size[1:]) + 2))
    return b"".join(parts)


@dataclass
class Server:
    """A server to be killed, a child of the process `parent`."""

    parent: asyncio.subprocess.Process
    id: int
    gone: bool = False

    async def kill(self) -> None:
        """Kill it with -9 and wait until it is gone. May be called twice."""
        if not self.gone:
            assert self.parent.stdout is not None
            os.kill(self.id, signal.SIGKILL)
            assert await self.parent.stdout.readline() == b"gone\n"
            self.gone = True


@asynccontextmanager
async def servers(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process that forks one server after the other."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.batches.child", *arguments),
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads are not forked
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


@dataclass
class Stage:
    """The store and Claude, which outlive the server."""

    claude: Simulated
    door: Gatekeeper
    store: BatchConnection
    run: Callable[[], Any]
    redis: Connection

    def asked(self) -> Counter[str]:
        """How often each question was put to Claude."""
        return Counter(
            request["params"]["messages"][-1]["content"]
            for received in self.claude.requests
            if received.path == "/v1/messages/batches" and received.method == "POST"
            for request in json.loads(received.raw)["requests"]
        )


@asynccontextmanager
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    claude = Simulated(SimulatedSettings())
    door = Gatekeeper(claude.app)
    with serving_redis(find_server()) as redis_url:
        redis = connect(redis_url)
        store = BatchConnection(redis_url.removeprefix("unix://"))
        path = tmp_path / "wire.sock"
        async with (
            aclosing(redis),
            await asyncio.start_unix_server(store.serve, path, limit=1 << 20),
            serving(door) as url,
            servers(str(tmp_path / "data"), f"unix://{path}", url) as parent,
        ):
            for text in SCRIPTS.values():
                await redis.script_load(text)

            @asynccontextmanager
            async def run() -> AsyncIterator[tuple[Server, str]]:
                assert parent.stdin is not None
                assert parent.stdout is not None
                parent.stdin.write(b"start\n")
                id, at = (await parent.stdout.readline()).split()
                server = Server(parent, int(id))
                try:
                    yield server, at.decode()
                finally:
                    await server.kill()

            yield Stage(claude, door, store, run, redis)


@dataclass(frozen=True)
class Step:
    """Where the server is held, and killed."""

    at: str  # a script, or what is said to Claude
    nth: int = 1
    when: str = "before"  # "after": it is done, and the server has not heard

    def hold(self, stage: Stage) -> asyncio.Event:
        if self.at == "ROWS" or self.at in SCRIPTS:
            stage.store.hold(self.at, self.nth, self.when)
            return stage.store.reached
        stage.door.hold_at(
            {
                "create": lambda method, path: method == "POST",
                "poll": lambda method, path: method == "GET" and path.count("/") == 4,
                "results": lambda method, path: path.endswith("/results"),
            }[self.at],
            self.when,
        )
        return stage.door.reached


def requests(n: int) -> list[Any]:
    """Two questions, one of them twice, and one that Claude need not see."""
    return [
        item("one", f"How far is star number {n}?"),
        item("again", f"How far is star number {n}?"),
        item("two", f"Who wrote book number {n}?", system=f"Library {n}."),
        item("bad", messages=[]),
    ]


async def ended(url: str, id: str) -> str:
    """The results, once the job has ended."""
    async with httpx2.AsyncClient(timeout=60) as http:
        async with http.stream("GET", f"{url}/v1/jobs/{id}/events") as response:
            assert response.status_code == 200
            last = [line async for line in response.aiter_lines() if line.startswith("event:")][-1]
        assert last == "event: ended"
        return (await http.get(f"{url}/v1/messages/batches/{id}/results")).text


async def killed_at_each(stage: Stage, steps: list[Step]) -> None:
    """At each step a batch is taken and the server killed; the next one ends it, and takes another.

    Every item is answered once, and every question put to Claude once.
    """
    made: str | None = None
    for n, step in enumerate([*steps, None]):
        async with stage.run() as (server, url), httpx2.AsyncClient(timeout=60) as http:
            if made is not None:
                lines = [json.loads(line) for line in (await ended(url, made)).splitlines()]
                kinds = {line["custom_id"]: line["result"]["type"] for line in lines}
                assert len(lines) == len(kinds)
                expected = dict.fromkeys(("one", "again", "two"), "succeeded") | {"bad": "errored"}
                assert kinds == expected, steps[n - 1]
                assert stage.asked() == expected_questions(n), steps[n - 1]
            if step is None:
                await booked(stage, http, url)
                await entered(stage, http, url, items=4 * n)
                return
            if made is None:
                rules = {"budgets": {"monthly": {"usd": 1_000}, "at_limit": "refuse"}}
                headers = {"x-api-key": ADMIN_KEY}
                await http.put(f"{url}/admin/v1/tenants/default", json=rules, headers=headers)
            # What is held stops all that follows it: first, rows of before are written and folded.
            assert (await http.get(f"{url}/v1/usage")).status_code == 200
            reached = step.hold(stage)
            body = {"requests": requests(n)}
            made = (await http.post(f"{url}/v1/messages/batches", json=body)).json()["id"]
            await reached.wait()
            await server.kill()
            # Its lease would run out by itself; nobody waits for that.
            assert await stage.redis.pttl(f"{PREFIX}bt:lease") != -1
            await stage.redis.delete(f"{PREFIX}bt:lease")
        stage.door.release(gone=True)


async def booked(stage: Stage, http: httpx2.AsyncClient, url: str) -> None:
    """The budget's books and Claude's own are the same."""
    month = (await http.get(f"{url}/v1/budget")).json()["budgets"][1]
    assert (month["at_limit"], float(month["usd"]["reserved"])) == ("refuse", 0), month
    billed = sum(line.nanodollars for line in stage.claude.invoice)
    assert billed > 0
    assert round(float(month["usd"]["spent"]) * 1_000_000_000) == billed


async def entered(stage: Stage, http: httpx2.AsyncClient, url: str, *, items: int) -> None:
    """The ledger has one row for each item, and they cost what Claude billed."""
    text = (await http.get(f"{url}/v1/usage/export", params={"format": "jsonl"})).text
    rows = [json.loads(line) for line in text.splitlines()]
    assert Counter(row["decision"] for row in rows if row["decision"] != "background") == {
        "miss": items // 2,  # `one` and `two`
        "coalesced": items // 4,  # `again`
        "failed": items // 4,  # `bad`
    }
    billed = sum(line.nanodollars for line in stage.claude.invoice)
    assert sum(row["cost_nanodollars"] for row in rows) == billed
    totals = (await http.get(f"{url}/v1/usage")).json()["totals"]
    assert totals["requests"] == items
    assert round(float(totals["cost_usd"]) * 1_000_000_000) == billed


def expected_questions(steps: int) -> Counter[str]:
    asked = [
        request for n in range(steps) for request in requests(n) if request["params"]["messages"]
    ]
    return Counter({request["params"]["messages"][0]["content"]: 1 for request in asked})


@pytest.mark.timeout(300)
async def test_killed_while_it_speaks_with_claude(tmp_path: Path) -> None:
    steps = [
        Step(said, when=when)
        for said in ("create", "poll", "results")
        for when in ("before", "after")
    ]
    async with stage(tmp_path) as at:
        await killed_at_each(at, steps)


@pytest.mark.timeout(300)
async def test_killed_while_it_looks_items_up(tmp_path: Path) -> None:
    steps = [
        Step("JOIN"),
        Step("JOIN", when="after"),
        Step("JOIN", 2),
        Step("JOIN", 3, "after"),
        Step("RESERVE"),
        Step("RESERVE", when="after"),
        Step("RESERVE", 2, "after"),
        Step("ANSWER"),
        Step("ANSWER", when="after"),
        Step("SORTED"),
    ]
    async with stage(tmp_path) as at:
        await killed_at_each(at, steps)


@pytest.mark.timeout(300)
async def test_killed_while_it_sends_and_tells(tmp_path: Path) -> None:
    steps = [
        Step("PACK"),
        Step("PACK", when="after"),
        Step("MOVE"),  # about to be sent
        Step("MOVE", when="after"),
        Step("MOVE", 2),  # sent
        Step("MOVE", 2, "after"),
        Step("TELL"),
        Step("TELL", when="after"),
        Step("TELL", 2),
        Step("TELL", 2, "after"),
        Step("ROWS"),
        Step("ROWS", when="after"),
        Step("ROWS", 2),
        Step("FOLD", when="after"),
    ]
    async with stage(tmp_path) as at:
        await killed_at_each(at, steps)
