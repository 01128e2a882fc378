"""What was acknowledged, on a disk that is slow, broken or full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.shim import built


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("shim"))


def on_a_bad_disk(shim: Path, scenario: str, tmp_path: Path) -> dict[str, Any]:
    environment = {**os.environ, "LD_PRELOAD": str(shim), "BAD_DISK": str(tmp_path / "disk")}
    run = subprocess.run(
        [sys.executable, "-m", "tests.embedded.baddisk", scenario, tmp_path / "data"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_a_store_that_is_killed_while_the_disk_is_slow_loses_nothing(
    shim: Path, tmp_path: Path
) -> None:
    assert on_a_bad_disk(shim, "killed", tmp_path) == {"left": 501}


def test_a_sync_that_failed_is_told_until_the_file_was_written_anew(
    shim: Path, tmp_path: Path
) -> None:
    found = on_a_bad_disk(shim, "failing", tmp_path)
    assert found["failed"] >= 1
    assert found["unsynced"] > 0
    assert "appendonly.aof.1.incr.aof" not in found["files"]


def test_a_disk_that_does_not_answer_shows_in_the_age_of_what_is_unsynced(
    shim: Path, tmp_path: Path
) -> None:
    assert on_a_bad_disk(shim, "slow", tmp_path) == {"failing": False}


def test_a_full_disk_refuses_writes_and_serves_reads(shim: Path, tmp_path: Path) -> None:
    found = on_a_bad_disk(shim, "full", tmp_path)
    assert found["refused"] == "the store failed: ResponseError MISCONF"
    assert found["read"] == "1"
    # The one that met the full disk was in memory alone, and was written once there was room.
    assert found["acknowledged"] == 1
    assert found["lost"] == 0
