"""A command with two workers, as tests see it: its processes, and what they answer."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.house import ADMIN_KEY
from tests.test_process import MODEL, Server, server

ADMIN = {"x-api-key": ADMIN_KEY}
_PAUSE_S = 0.05  # a worker that starts needs the core


@contextmanager
def workers(data_dir: Path, *, code: str = "", **settings: str) -> Iterator[Server]:
    with server(data_dir, code=code, workers="2", admin_key=ADMIN_KEY, **settings) as found:
        yield found


@contextmanager
def slow_claude() -> Iterator[str]:
    """Yield the address of a simulated Claude that takes a second for 20 tokens."""
    pace = ["simulate-claude", "--port", "0", "--tokens-per-s", "20"]
    run = [sys.executable, "-m", "cacheserver.cli", *pace]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()


def fresh(one: Server, method: str, path: str, **given: Any) -> httpx2.Response:
    """Send a request over a connection of its own, which any worker may get."""
    with httpx2.Client(base_url=one.url, timeout=30) as http:
        return http.request(method, path, **given)


def ask(one: Server, text: str, **given: Any) -> httpx2.Response:
    body = {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": text}]}
    return fresh(one, "POST", "/v1/messages", json=body, **given)


def check(one: Server, name: str = "workers") -> dict[str, Any]:
    """Return one check of health, the worst of all workers."""
    health = fresh(one, "GET", "/admin/v1/health", headers=ADMIN).json()
    (found,) = [each for each in health["checks"] if each["name"] == name]
    return dict(found)


def listed(one: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = check(one)["facts"]["workers"]
    return found


def counted(one: Server) -> dict[str, float]:
    """Return the samples of /metrics by name with labels."""
    text = fresh(one, "GET", "/metrics", headers=ADMIN).text
    return {
        name: float(value)
        for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.M)
    }


def requests(one: Server) -> float:
    found = counted(one)
    return sum(n for name, n in found.items() if name.startswith("cacheserver_requests_total{"))


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(_PAUSE_S)
