"""The workflow of docs/testing.md: it can be read, and its server starts as it says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.models import ROOT, model_dir


def workflow() -> dict[str, Any]:
    page = (ROOT / "docs/testing.md").read_text()
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_its_steps_are_in_order_and_no_secret_is_written_out() -> None:
    job = workflow()["jobs"]["test"]
    names = [step.get("name") for step in job["steps"] if "name" in step]
    assert names == ["Install", "Start cacheserver", "Test", "Show the server's log"]
    assert all("uses" in step or "run" in step for step in job["steps"])
    assert set(re.findall(r"secrets\.(\w+)", str(job))) == {"ANTHROPIC_API_KEY"}


def test_the_server_of_its_step_is_ready_when_the_step_ends(tmp_path: Path) -> None:
    (start,) = (
        s for s in workflow()["jobs"]["test"]["steps"] if s.get("name") == "Start cacheserver"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = tmp_path / "cacheserver"
    command.write_text(f'#!/bin/sh\necho $$ > pid\nexec {sys.executable} -m cacheserver.cli "$@"\n')
    command.chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "ANTHROPIC_API_KEY": "sk-ant-simulated",
        "CACHESERVER_UPSTREAM": "simulated",
        "CACHESERVER_DATA_DIR": str(tmp_path / ".cacheserver"),
        "CACHESERVER_MODEL_DIR": str(model_dir()),
        "CACHESERVER_PORT": str(port),
    }
    script = start["run"].replace(":8080", f":{port}")
    try:
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env=env, capture_output=True, timeout=90
        )
        assert done.returncode == 0, done.stderr
        with socket.create_connection(("127.0.0.1", port)):
            pass
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 15)
