"""Commands that change the store on their own are in its audit trail."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import PREFIX, connect
from cacheserver.tenants.audit_trail import AuditFilter, AuditTrail


async def run(data: Path, *words: str, **variables: str | Path) -> tuple[int | None, str]:
    """The exit status of a command, and what it says."""
    assigned = [f"CACHESERVER_{name.upper()}={value}" for name, value in variables.items()]
    child = await asyncio.create_subprocess_exec(
        "env", f"CACHESERVER_DATA_DIR={data}", *assigned,
        *(sys.executable, "-m", "cacheserver.cli", *words),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await child.communicate()
    return child.returncode, said.decode()


async def routes(data: Path) -> list[str]:
    async with EmbeddedStore(data) as url:
        redis = connect(url)
        found, _ = await AuditTrail(redis, prefix=PREFIX).page(AuditFilter(), limit=10)
        await redis.aclose()
    assert all(one["who"].startswith("command line (") for one in found)
    return [one["route"] for one in found]


async def test_a_rotation_of_the_encryption_keys_is_recorded(tmp_path: Path) -> None:
    data, key = tmp_path / "data", tmp_path / "master"
    key.touch(mode=0o600)
    key.write_text("0f" * 32)
    assert await routes(data) == []
    status, said = await run(data, "encryption", "rotate", encryption_key_file=key)
    assert (status, "are wrapped by the current master key" in said) == (0, True), said
    assert await routes(data) == ["cacheserver encryption rotate"]


async def test_a_repair_is_recorded_where_there_was_damage(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert await routes(data) == []  # there is a store now
    assert await run(data, "repair") == (0, "There is no damage.\n")
    assert await routes(data) == []
    (log,) = (data / "store" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"\0" * 4096)
    status, said = await run(data, "repair")
    assert (status, said.endswith("The store can be started.\n")) == (0, True), said
    assert await routes(data) == ["cacheserver repair"]
