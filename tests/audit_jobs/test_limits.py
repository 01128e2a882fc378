"""Limits of an audit on the machine, and the remains of one that does not end well."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cacheserver.audit_jobs.process import MEMORY_BYTES
from cacheserver.core.errors import StoreError
from tests.analysis.audit.records import pair
from tests.api.admin import ADMIN, put
from tests.audit_jobs.test_audits import PATH, SECRET, ended, files, log, shown, taken
from tests.house import House
from tests.nocontent.traffic import opened

_SONNET = "claude-sonnet-5-5"


def told(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text().strip()


def audits() -> list[int]:
    """The ids of processes of audits that have their limits."""
    tasks = Path("/proc/self/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [
        pid
        for pid in children
        if "audit" in told(pid, "cmdline").split("\0") and told(pid, "oom_score_adj") == "1000"
    ]


async def process() -> int:
    """The id of an audit's process, once it runs."""
    async with asyncio.timeout(60):
        while not (found := await asyncio.to_thread(audits)):
            pass
    return found[0]


async def test_a_process_has_limits_and_goes_first_where_memory_ends(house: House) -> None:
    id = await taken(house)
    pid = await process()
    limits = told(pid, "limits").splitlines()
    (memory,) = [line for line in limits if line.startswith("Max address space")]
    assert memory.split()[3:5] == [str(MEMORY_BYTES)] * 2
    (size,) = [line for line in limits if line.startswith("Max file size")]
    assert size.split()[3].isdecimal()
    os.kill(pid, signal.SIGKILL)  # as the system does
    found = await ended(house, id)
    assert (found["state"], found["report"]) == ("failed", None)
    assert "memory" in found["error"]


async def test_an_audit_ends_where_the_disk_fills(house: House, tmp_path: Path) -> None:
    id = await taken(house)
    await process()
    house.parts.audit_jobs._folder._spare = 1 << 60
    found = await ended(house, id)
    assert found["state"] == "failed"
    assert "disk" in found["error"]
    assert sorted(path.name for path in files(tmp_path)) == ["job.json", "lock"]


async def written(place: Path) -> None:
    """Wait until the end of a job is on disk: its server says it a moment earlier."""
    async with asyncio.timeout(60):
        while (
            json.loads(await asyncio.to_thread((place / "job.json").read_text))["ended_at"] is None
        ):
            pass


async def test_what_was_not_encrypted_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as house:
        jobs = house.parts.audit_jobs

        async def away(tenant: str) -> None:
            raise StoreError("away")

        monkeypatch.setattr(jobs._sealer, "ready", away)
        id = await taken(house)
        found = await ended(house, id)
        assert (found["state"], found["report"]) == ("failed", None)
        assert not {"report.json", "page.html"} & {path.name for path in files(tmp_path / "data")}
        monkeypatch.undo()
        await written(jobs._folder.of(id))
        # As a server leaves it that is killed before its report is encrypted.
        place = jobs._folder.of(id)
        job = json.loads((place / "job.json").read_text())
        (place / "job.json").write_text(json.dumps({**job, "state": "running", "ended_at": None}))
        for name in ("report.json", "page.html"):
            (place / name).write_text(json.dumps({"read": SECRET}))
    async with opened(tmp_path) as house:
        assert (await shown(house, id))["report"] is None
        page = await house.http.get(f"{PATH}/{id}/page", headers=ADMIN)
        assert page.status_code == 404
        left = [path for path in files(tmp_path / "data") if path.parent.name == id]
        assert [path.name for path in left] == ["job.json"]


async def test_live_prices_count_from_the_day_of_their_change(house: House) -> None:
    now = datetime.now(UTC)
    lines = [pair(text, at=at.isoformat()) for text, at in (
        ("One?", now - timedelta(days=2)), ("Two?", now),
    )]  # fmt: skip
    before = await ended(house, await taken(house, log(*lines)))
    each = Decimal(before["report"]["spent_usd"]) / 2
    await put(house, "prices", prices={_SONNET: {"input": 1_000, "output": "2000.5"}})
    after = await ended(house, await taken(house, log(*lines)))
    # 1,000 tokens in and 100 out.
    assert Decimal(after["report"]["spent_usd"]) == each + Decimal("1.20005")
