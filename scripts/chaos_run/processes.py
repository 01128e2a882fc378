"""The processes that are made to fail: the server, the simulated Claude, a Valkey of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import httpx2

from cacheserver.embedded.process import find_server
from scripts.chaos_run.network import Network

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0  # a start reads two models; on a busy machine that takes its time


class DidNotStart(Exception):
    """Raised if a process does not start, with its output."""


class Process:
    """Process that can be restarted."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.command = list(command)
        self.env = dict(env)
        self.lives = 0
        self.stopped_s = 0.0  # how long it was held by SIGSTOP, in all
        self._held: float | None = None
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def lost_s(self) -> float:
        """Return how long it was held until now."""
        return self.stopped_s + (time.time() - self._held if self._held is not None else 0.0)

    async def start(self, pattern: str) -> str:
        """Start it and return the first part of its log that matches `said`."""
        self.lives += 1
        begun = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._child = self._spawn(log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with self._log.open("rb") as log:
                log.seek(begun)
                text = log.read().decode(errors="replace")
            if (found := re.search(pattern, text)) is not None:
                return found[0]
            if self._child.poll() is not None:
                raise DidNotStart(text[-2_000:])
            await asyncio.sleep(0.02)
        raise DidNotStart(f"nothing in {START_S} s: {text[-2_000:]}")

    def _spawn(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log, cwd=ROOT)

    async def end(self, how: signal.Signals, within_s: float = 40.0) -> float:
        """Send a signal and wait; how long it took. Killed where it does not end in time."""
        child = self._child
        if child is None:
            return 0.0
        self.resume()
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(how)
        try:
            await asyncio.to_thread(child.wait, within_s)
        except subprocess.TimeoutExpired:
            child.kill()
            await asyncio.to_thread(child.wait)
        return time.monotonic() - started

    def hold(self) -> None:
        if self.pid is not None and self._held is None:
            os.kill(self.pid, signal.SIGSTOP)
            self._held = time.time()

    def resume(self) -> None:
        if self._held is not None:
            if self.pid is not None:
                os.kill(self.pid, signal.SIGCONT)
            self.stopped_s += time.time() - self._held
            self._held = None


class Claude(Process):
    """The simulated Claude."""

    def __init__(self, folder: Path) -> None:
        self.charges = folder / "invoice.jsonl"
        command = [sys.executable, "-m", "scripts.chaos_run.upstream"]
        command += ["--charges", str(self.charges)]
        super().__init__(command, {**os.environ, "PYTHONPATH": str(ROOT)}, folder / "claude.log")

    async def serve(self) -> int:
        """Start it; the port it listens on."""
        return int((await self.start(r"http://127\.0\.0\.1:\d+(?=\n)")).rpartition(":")[2])


class Server(Process):
    """The server under test. Its embedded store is its child."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        *,
        shim: Path | None = None,
        number: int = 0,
        network: Network | None = None,
    ) -> None:
        """`number` tells servers on one store apart, from 1; 0: it is the only one.

        `network` is what it runs in, None: this machine's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.number = number
        self.data = folder / "data"
        self.disk = folder / "disk"  # files beside it tell the shim what goes wrong
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("CACHESERVER", "ANTHROPIC"))
        }
        ours = {"data_dir": str(self.data), "port": "0", **settings}
        env = kept | {f"CACHESERVER_{name.upper()}": value for name, value in ours.items()}
        env |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        if shim is not None:
            env |= {"LD_PRELOAD": str(shim), "BAD_DISK": str(self.disk)}
        command = [sys.executable, "-m", "cacheserver.cli"]
        if network is not None:
            command = [*network.prefix, *command]
            env |= {"CACHESERVER_HOST": network.server, "NO_PROXY": "*"}
        self._tenant = [*command, "key", "create", "--tenant"]
        super().__init__([*command, "serve"], env, folder / "server.log")
        self.url = ""

    async def serve(self) -> None:
        self.url = await self.start(r"(?<=Listening on )http://\S+(?=\s)")

    async def create_key(self, tenant: str) -> None:
        """Create a first key by the command: without one a server listens on loopback only."""
        command = [*self._tenant, tenant]
        run = partial(subprocess.run, env=self.env, capture_output=True, text=True, cwd=ROOT)
        done = await asyncio.to_thread(run, command)
        if done.returncode:
            raise DidNotStart(done.stderr[-2_000:])

    async def ready(self, http: httpx2.AsyncClient, within_s: float) -> float | None:
        """Wait until `/readyz` is 200; how long that took, None where it was not in time."""
        started = time.monotonic()
        while time.monotonic() - started < within_s:
            with contextlib.suppress(httpx2.HTTPError):
                if (await http.get(f"{self.url}/readyz", timeout=10)).status_code == 200:
                    return time.monotonic() - started
            await asyncio.sleep(0.1)
        return None

    @property
    def store_pid(self) -> int | None:
        """The embedded store's process."""
        if self.pid is None:
            return None
        children: list[str] = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children += task.read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if "valkey" in Path(f"/proc/{child}/cmdline").read_text():
                    return int(child)
        return None

    @property
    def store_url(self) -> str:
        """The address of the embedded store."""
        note = json.loads((self.data / "store" / "store.json").read_text())
        return f"unix://{note['socket']}"

    @contextlib.contextmanager
    def bad_disk(self, how: str) -> Iterator[None]:
        """Make the disk slow or full for a while. Works with the shim only."""
        flag = Path(f"{self.disk}.{how}")
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()

    def used(self) -> tuple[int, int] | None:
        """Bytes of memory and open files of the process."""
        try:
            status = Path(f"/proc/{self.pid}/statm").read_text()
            files = sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:
            return None
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE"), files


class OwnStore(Process):
    """A Valkey that the server is given by address, durable to the last acknowledged write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "own"
        self.folder.mkdir()
        # A socket's path has to be short.
        self.socket = Path(tempfile.mkdtemp(prefix="chaos-")) / "valkey.sock"
        self.url = f"unix://{self.socket}"
        command = [str(find_server()), "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"]
        super().__init__([*command, "--save", ""], os.environ, folder / "valkey.log")

    async def serve(self) -> None:
        await self.start("[Rr]eady to accept")
