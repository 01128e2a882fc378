"""Data directories that earlier versions left, and what today's server finds in them.

`schema1.tar.xz` was made by `tests/upgrades/datasets.py` with the server of 28 November 2026,
before the store was synced and backed up by the server itself.
"""

from __future__ import annotations

import json
import re
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from cacheserver.backup import backup, restore
from cacheserver.calibration.labels import Labels
from cacheserver.config.settings import Settings
from cacheserver.storage.connection import SCHEMA
from tests.house import ADMIN_KEY, Clock, House
from tests.upgrades.datasets import LONG_S, SCOPE

HERE = Path(__file__).parent
_ENDS = re.compile(
    rb"((?:\$4\r\nPXAT|\$9\r\nPEXPIREAT\r\n\$\d+\r\n[^\r]*)\r\n\$13\r\n)(\d{13})", re.IGNORECASE
)


def unpacked(name: str, data: Path) -> dict[str, Any]:
    """Unpack a fixture as if it had been made a minute ago; what was told of it."""
    with tarfile.open(HERE / name) as packed:
        packed.extractall(data, filter="data")
    told: dict[str, Any] = json.loads((data / "made.json").read_text())
    older_ms = round((time.time() - 60 - told["made_at"]) * 1000)
    for path in (data / "store" / "appendonlydir").glob("*.incr.aof"):
        moved = _ENDS.sub(
            lambda found: found[1] + b"%d" % (int(found[2]) + older_ms), path.read_bytes()
        )
        path.write_bytes(moved)
    return told


async def holds(house: House, told: dict[str, Any]) -> None:
    """Check that a server finds all that was told."""
    mine, admin = {"x-api-key": told["key"]}, {"x-api-key": ADMIN_KEY}
    assert (await house.ask(key="cs_another")).status_code == 401
    history = await house.http.get("/admin/v1/tenants/acme/bars/history", headers=admin)
    changes = [{**change, "undoes": None} for change in told["history"]]
    assert history.json() == {"items": changes, "next": None}
    assert changes
    usage = (await house.http.get("/v1/usage", headers=mine)).json()
    for name in ("saved_by_cause_usd", "spent_by_cause_usd"):
        # A cause that there was none of yet is 0; all others are as they were.
        before = told["usage"]["totals"][name]
        later = usage["totals"][name].keys() - before.keys()
        assert {usage["totals"][name].pop(cause) for cause in later} <= {"0.000000000"}
    if "comparisons" not in told["usage"]["totals"]:  # its rows have none
        assert usage["totals"].pop("comparisons")["opus"] is None
    assert usage["totals"] == told["usage"]["totals"]
    assert usage["totals"]["requests"] == 5
    assert (await house.http.get("/v1/stats", headers=mine)).json() == told["stats"]
    labels = await Labels(house.parts.decision_log._redis).window("acme", SCOPE)
    assert [label["n"] for _, label in labels] == [1]
    job = await house.http.get(f"/v1/messages/batches/{told['job']['id']}", headers=mine)
    assert job.json()["request_counts"] == told["job"]["request_counts"]
    assert job.json()["request_counts"]["succeeded"] == 1
    results = await house.http.get(
        f"/v1/messages/batches/{told['job']['id']}/results", headers=mine
    )
    assert results.json()["result"]["type"] == "succeeded"
    assert len(house.parts.entries.index) >= len(told["answers"])
    for text, answer in told["answers"].items():
        found = await house.ask(text, key=told["key"], headers={"x-cache-tags": "help"})
        assert found.headers["x-cache"] == "exact"
        assert found.json()["content"][0]["text"] == answer


@pytest.mark.parametrize("name", ["schema1.tar.xz"])
async def test_todays_server_finds_all_that_an_older_one_left(tmp_path: Path, name: str) -> None:
    told = unpacked(name, tmp_path)
    clock = Clock()
    clock.ahead_s = told["made_at"] + 60 - time.time()
    async with House.open(tmp_path, upstream="simulated", max_ttl_s=LONG_S, clock=clock) as house:
        await holds(house, told)


@pytest.mark.parametrize("name", ["schema1.tar.xz"])
async def test_what_an_older_one_left_is_backed_up_and_restored(tmp_path: Path, name: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    told = unpacked(name, old)
    await backup.save(Settings(data_dir=old), tmp_path / "file")
    await restore.load(Settings(data_dir=new), tmp_path / "file", replace=False)
    clock = Clock()
    clock.ahead_s = told["made_at"] + 60 - time.time()
    async with House.open(new, upstream="simulated", max_ttl_s=LONG_S, clock=clock) as house:
        await holds(house, told)


def test_each_schema_has_a_directory_that_it_left() -> None:
    assert {path.name for path in HERE.glob("schema*.tar.xz")} == {
        f"schema{number}.tar.xz" for number in range(1, SCHEMA + 1)
    }
    assert sum(path.stat().st_size for path in HERE.glob("schema*.tar.xz")) < 200_000
