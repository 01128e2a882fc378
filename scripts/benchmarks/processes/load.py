"""Load from `wrk` (Debian), and the processes a measurement needs, pinned apart."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A threshold that all questions pass: the request path is measured, not the decision.
SERVES_ALL = ("--bar", "0.3")
SERVER = "scripts.benchmarks.processes.server"
NOWHERE = "http://127.0.0.1:9"  # the upstream of a server that answers from its cache alone
SERVER_CORE, LOAD_CORE = "0", "1"
EVERY_CORE = f"0-{(os.cpu_count() or 1) - 1}"
_TIMEOUT = "10s"  # a machine that others use may hold a request for seconds

# The script of `wrk` for each request. It prints JSON at the end, because the text output of `wrk`
# rounds milliseconds to two digits.
_LUA = """
local path, template, first, count = %s, %s, %d, %d
local n = 0
function setup(thread) thread:set("offset", 0) end
function request()
  n = n + 1
  local body = template:gsub("@", tostring(first + (n %% count)))
  return wrk.format("POST", path, {["content-type"]="application/json", ["authorization"]=%s}, body)
end
function done(summary, latency, requests)
  io.write(string.format('FIGURES {"requests": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f, '
    .. '"errors": %%d}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Figures:
    per_s: float
    p50_ms: float
    p99_ms: float
    server_us: float  # CPU of the server process for one request
    store_us: float  # CPU of the store process for one request

    @property
    def cpu_us(self) -> float:
        """CPU time per request of server and store together, as they share one core."""
        return self.server_us + self.store_us


def wrk(
    of: Server,
    path: str,
    template: str,
    *,
    clients: int,
    seconds: float,
    first: int = 0,
    count: int = 1,
) -> Figures:
    """Post `template` for `seconds`; each `@` becomes one of `count` numbers from `first` on."""
    before = of.cpu_s()
    with wrk_started(
        of, path, template, clients=clients, seconds=seconds, first=first, count=count
    ) as child:
        figures = wrk_figures(child)
    after = of.cpu_s()
    return Figures(
        per_s=figures["requests"] / figures["seconds"],
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        server_us=(after[0] - before[0]) / figures["requests"] * 1e6,
        store_us=(after[1] - before[1]) / figures["requests"] * 1e6,
    )


@contextlib.contextmanager
def wrk_started(
    of: Server,
    path: str,
    template: str,
    *,
    clients: int,
    seconds: float,
    first: int = 0,
    count: int = 1,
    core: str = LOAD_CORE,
) -> Iterator[subprocess.Popen[str]]:
    """Start what `wrk` does, and end it."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        texts = [json.dumps(text) for text in (path, template, f"Bearer {of.key}")]
        script.write(_LUA % (*texts[:2], first, count, texts[2]))
        script.flush()
        command = ["taskset", "-c", core, "wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s"]
        command += ["--timeout", _TIMEOUT, "-s", script.name, of.url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            try:
                yield child
            finally:
                child.terminate()


def wrk_figures(child: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for the end of `wrk`, and return what it counted.

    Raises `RuntimeError` if a request failed.
    """
    said, errors = child.communicate()
    found = re.search(r"FIGURES (\{.*\})", said)
    if found is None:
        raise RuntimeError(f"wrk said nothing of use: {said[-500:]}{errors[-500:]}")
    figures: dict[str, float] = json.loads(found[1])
    if figures["errors"]:
        raise RuntimeError(f"{figures['errors']:.0f} requests failed under load")
    return figures


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int
    key: str = "k"
    fill_s: float = 0.0

    def resident_mb(self) -> float:
        """Megabytes resident of the server process alone."""
        return _resident_mb(self.pid)

    def store_mb(self) -> float:
        """Megabytes resident of the store beside it."""
        return sum(_resident_mb(child) for child in self._children())

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds so far of the server process and of the store beside it."""
        return cpu_s(self.pid), sum(cpu_s(child) for child in self._children())

    def _children(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(child) for child in children.split()]


def _resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_s(pid: int) -> float:
    """User and system time, all threads, in steps of 10 ms."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def server(
    upstream: str,
    entries: int,
    data_dir: Path | None = None,
    *options: str,
    module: str = SERVER,
    settings: dict[str, str] | None = None,
    core: str = SERVER_CORE,
) -> Iterator[Server]:
    """The server with that many entries, on its own core with the store beside it."""
    with contextlib.ExitStack() as stack:
        folder = data_dir or stack.enter_context(temporary_folder())
        command = ["-m", module, str(folder), upstream, str(entries), *options]
        child = stack.enter_context(serving(command, settings or {}, core=core))
        yield started(child)


def started(child: subprocess.Popen[str]) -> Server:
    """Read what `scripts.benchmarks.processes.server` prints when it is filled."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the server did not start: {child.communicate()[1][-2_000:]}")
    said = json.loads(line)
    return Server(f"http://127.0.0.1:{said['port']}", child.pid, said["key"], said["fill_s"])


@contextlib.contextmanager
def pinned(*cores: str) -> Iterator[None]:
    """This thread, and what it starts, on these cores; on every one if none is named."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core) for core in cores} or range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cacheserver-bench-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def serving(
    arguments: list[str], settings: dict[str, str], *, core: str = SERVER_CORE
) -> Iterator[subprocess.Popen[str]]:
    """A Python process on a core of its own, stopped as an operator would."""
    child = subprocess.Popen(
        ["taskset", "-c", core, sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **settings},
    )
    try:
        yield child
    finally:
        child.terminate()
        child.communicate()


def announced(child: subprocess.Popen[str]) -> str:
    """Read the address that a process prints on stdout."""
    said = []
    assert child.stderr is not None
    for line in child.stderr:
        if found := re.search(r"http://\S+", line):
            return found[0]
        said.append(line)
    raise RuntimeError(f"it did not start: {''.join(said)}")


@contextlib.contextmanager
def simulated_claude(*options: str) -> Iterator[str]:
    """The simulated Claude in a process of its own, on the load's core."""
    command = ["-m", "cacheserver.cli", "simulate-claude", "--port", "0", *options]
    with serving(command, {}, core=LOAD_CORE) as child:
        yield announced(child)
