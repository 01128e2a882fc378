"""Exact hits of LiteLLM's proxy, from its Redis cache, beside ours: 8 clients, one core for each.

Both ask the same simulated Claude, and each has a store of its own. LiteLLM is installed into an
environment of its own, since it pins versions that differ from ours.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.benchmarks.hits import ENTRIES, TEMPLATE, exact, median
from scripts.benchmarks.processes.client import Client
from scripts.benchmarks.processes.load import (
    SERVER_CORE,
    Figures,
    Server,
    server,
    simulated_claude,
    temporary_folder,
    wrk,
)
from scripts.benchmarks.processes.server import MODEL, body, question
from scripts.benchmarks.processes.store_proxy import store
from scripts.benchmarks.rows import at_least, row, skipped
from scripts.benchmarks.run import Run

_VERSION = "1.108.7"
_HOME = Path("var/litellm")
_CLIENTS = 8
_TURNS = 3
_QUESTIONS = 100  # of theirs: each is asked of Claude once, before hits are counted
_PATHS = ("/v1/messages", "/chat/completions")  # the faster one is compared
_TIMES = 18
_PATIENCE_S = 180
_WHAT = "exact hits, times those of LiteLLM's proxy, clients: 8"


def measure(run: Run) -> list[dict[str, Any]]:
    """Compare both in turns, or say why LiteLLM is not here."""
    try:
        _install()
    except subprocess.CalledProcessError as failed:
        lines = (failed.stderr or "").strip().splitlines()
        return [skipped(_WHAT, f"pip cannot install litellm: {lines[-1] if lines else failed}")]
    with simulated_claude() as claude, server(claude, ENTRIES) as ours, _litellm(claude) as theirs:
        exact(ours, _CLIENTS, 1)  # warm
        for path in _PATHS:
            client = Client(theirs.url, theirs.key, path=path)
            for number in range(_QUESTIONS):
                client.ask(body(question(number)))
            _theirs(theirs, path, 2)
        asked = _calls(claude)
        hits: list[Figures] = []
        found: dict[str, list[Figures]] = {path: [] for path in _PATHS}
        some = max(2, run.seconds / _TURNS)
        for _ in range(_TURNS):
            hits.append(exact(ours, _CLIENTS, some))
            for path, figures in found.items():
                figures.append(_theirs(theirs, path, some))
        if _calls(claude) != asked:
            raise RuntimeError("LiteLLM asked Claude: not all of its answers were hits")
    best = max(_PATHS, key=lambda path: median(found[path], "per_s"))
    their = found[best]
    return [
        at_least(_WHAT, median(hits, "per_s") / median(their, "per_s"), _TIMES),
        row(f"  litellm {_VERSION} ({_packages()}), {best}", median(their, "per_s"), "/s"),
        *(
            row(f"  ... {path}", median(found[path], "per_s"), "/s")
            for path in _PATHS
            if path != best
        ),
        row("  ... p50", median(their, "p50_ms"), "ms"),
        row("  ours", median(hits, "per_s"), "/s"),
        row("  ... p50", median(hits, "p50_ms"), "ms"),
    ]


def _install() -> None:
    """Make the environment, once. Raises `CalledProcessError` if pip cannot."""
    stamp = _HOME / "installed"
    if stamp.exists() and stamp.read_text() == _VERSION:
        return
    print(f"Installing litellm {_VERSION} into {_HOME}; this takes some minutes.", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(_HOME)], check=True)
    pip = [str(_HOME / "bin" / "pip"), "install", "-q", f"litellm[proxy]=={_VERSION}"]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    stamp.write_text(_VERSION)


def _packages() -> str:
    """The versions of what it runs on."""
    code = (
        "from importlib.metadata import version as v\n"
        "print(', '.join(f'{n} {v(n)}' for n in ('fastapi', 'uvicorn', 'redis')))"
    )
    asked = [str(_HOME / "bin" / "python"), "-c", code]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def _theirs(of: Server, path: str, seconds: float) -> Figures:
    return wrk(of, path, TEMPLATE, clients=_CLIENTS, seconds=seconds, count=_QUESTIONS)


def _calls(claude: str) -> int:
    with urllib.request.urlopen(f"{claude}/_simulated/invoice") as response:
        return len(json.loads(response.read())["lines"])


@contextlib.contextmanager
def _litellm(claude: str) -> Iterator[Server]:
    """The proxy on the server's core, its store beside it."""
    key = f"sk-{secrets.token_hex(32)}"
    with temporary_folder() as folder, store() as redis, _free_port() as port:
        config = folder / "config.yaml"  # JSON is YAML
        config.write_text(json.dumps(_config(claude)))
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it asks the network for prices
            "LITELLM_LOG": "ERROR",
            "LITELLM_MASTER_KEY": key,
            "REDIS_URL": f"unix://{redis}",
        }
        command = [str((_HOME / "bin" / "litellm").absolute()), "--config", str(config)]
        options = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        with (folder / "output").open("w+") as output:
            child = subprocess.Popen(
                ["taskset", "-c", SERVER_CORE, *command, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
            )
            try:
                _wait(child, port, folder / "output")
                yield Server(f"http://127.0.0.1:{port}", child.pid, key)
            finally:
                child.terminate()
                child.wait()


def _config(claude: str) -> dict[str, Any]:
    asked = {"model": f"anthropic/{MODEL}", "api_base": claude, "api_key": "sk-ant-benchmark"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": asked}],
        "litellm_settings": {"cache": True, "cache_params": {"type": "redis"}, "telemetry": False},
    }


@contextlib.contextmanager
def _free_port() -> Iterator[int]:
    """A port that is free now: the proxy does not tell which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    yield port


def _wait(child: subprocess.Popen[bytes], port: int, output: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and child.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/health/liveliness")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"LiteLLM did not start: {output.read_text()[-2_000:]}")
