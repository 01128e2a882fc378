"""A real Valkey with replicas, watched by three Sentinels, for tests.

with sentinels() as nodes:
    nodes.kill(nodes.primary())
    nodes.wait_failover()
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.exceptions import RedisError

from cacheserver.embedded.process import find_server
from tests.redis_clusters import HOST, Node, free_ports

SERVICE = "main"
_WITHIN_S = 40.0  # machines are shared: what takes seconds alone may take many
_LOOK_S = 0.02


@dataclass(eq=False)
class Sentinels:
    """Running servers and Sentinels. Its methods block: an async test calls them in a thread."""

    directory: Path
    timeout_ms: int  # after which a server that is silent is taken for dead
    servers: list[Node] = field(default_factory=list)
    watchers: list[Node] = field(default_factory=list)
    front: Callable[[int], int] = lambda _: 0  # opens a port before another

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{one.port}" for one in self.watchers)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def primary(self) -> Node:
        """Return the server that most Sentinels take for the primary."""
        ports = [
            int(one.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
            for one in self.watchers
            if one.alive
        ]
        port = max(ports, key=ports.count)
        return next(one for one in self.servers if one.told == port)

    def kill(self, node: Node) -> None:
        assert node.process is not None
        node.process.send_signal(signal.SIGCONT)
        node.process.kill()
        node.process.wait()

    def start(self, node: Node) -> None:
        """Start a server that was killed, as a replica of the primary; return once it follows."""
        self._spawn(node, "--replicaof", HOST, str(self.primary().told))
        self._until(lambda: node.run("ROLE")[3] == "connected", "a replica does not follow")

    def pause(self, node: Node) -> None:
        """Stop a server from running, its connections open."""
        assert node.process is not None
        node.process.send_signal(signal.SIGSTOP)

    def resume(self, node: Node) -> None:
        assert node.process is not None
        node.process.send_signal(signal.SIGCONT)

    def wait_failover(self, old: Node) -> None:
        """Wait until the Sentinels agree on another primary, and it takes writes."""

        def done() -> bool:
            found = {
                int(one.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
                for one in self.watchers
                if one.alive
            }
            return (
                len(found) == 1
                and old.told not in found
                and self.primary().run("ROLE")[0] == "master"
            )

        self._until(done, "no replica took over")

    def make(self, replicas: int) -> None:
        ports = free_ports(1 + replicas + 3)
        for port in ports[: 1 + replicas]:
            of = [f"replicaof {HOST} {self.servers[0].told}"] if self.servers else []
            lines = ["repl-diskless-sync-delay 0", *of]
            self.servers.append(self._start(port, lines, announce="replica-announce-port"))
        for port in ports[1 + replicas :]:
            lines = [
                f"sentinel monitor {SERVICE} {HOST} {self.servers[0].told} 2",
                f"sentinel down-after-milliseconds {SERVICE} {self.timeout_ms}",
                f"sentinel failover-timeout {SERVICE} 6000",
            ]
            announce = "sentinel announce-port"
            self.watchers.append(self._start(port, lines, "--sentinel", announce=announce))

        def ready() -> bool:
            for one in self.watchers:
                facts = one.run("SENTINEL", "MASTER", SERVICE)
                if (facts["num-slaves"], facts["num-other-sentinels"]) != (str(replicas), "2"):
                    return False
            return True

        self._until(ready, "the Sentinels do not know each other")

    def stop(self) -> None:
        for one in (*self.watchers, *self.servers):
            if one.alive:
                self.kill(one)

    def _start(self, port: int, lines: Sequence[str], *options: str, announce: str) -> Node:
        node = Node(port, self.directory / str(port), front=self.front(port))
        if node.front:
            lines = [*lines, f"{announce} {node.front}"]
        node.directory.mkdir()
        common = [f"port {port}", f"bind {HOST}", "protected-mode no", f"dir {node.directory}"]
        if not options:
            common += ['save ""', "appendonly no"]
        (node.directory / "conf").write_text("\n".join([*common, *lines, ""]))
        self._spawn(node, *options)
        return node

    def _spawn(self, node: Node, *options: str) -> None:
        with (node.directory / "log").open("ab") as log:
            words = [str(find_server()), str(node.directory / "conf"), *options]
            node.process = subprocess.Popen(words, stdout=log)
        self._until(lambda: bool(node.run("PING")), "a server did not answer")

    def _until(self, done: Callable[[], bool], problem: str) -> None:
        ends = time.monotonic() + _WITHIN_S
        while time.monotonic() < ends:
            with contextlib.suppress(RedisError):
                if done():
                    return
            time.sleep(_LOOK_S)
        raise AssertionError(problem)


@contextmanager
def sentinels(
    *, replicas: int = 1, timeout_ms: int = 1_000, front: Callable[[int], int] = lambda _: 0
) -> Iterator[Sentinels]:
    """Yield a primary with replicas and three Sentinels, which keep nothing."""
    with tempfile.TemporaryDirectory(prefix="cs-sentinel-") as directory:
        found = Sentinels(Path(directory), timeout_ms, front=front)
        try:
            found.make(replicas)
            yield found
        finally:
            found.stop()
