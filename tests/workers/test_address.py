"""One address, several sockets: shared with the workers of one command, and with nobody else."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cacheserver.api.server import address
from cacheserver.core.errors import SettingsError
from tests.test_process import environment, run
from tests.workers.processes import children, command, until, workers

HOST = "127.0.0.1"


def port(held: socket.socket) -> int:
    return int(held.getsockname()[1])


def accepted(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    try:
        while True:
            listener.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def test_the_kernel_spreads_connections_over_sockets_beside_each_other() -> None:
    with (
        address.bound(HOST, 0, shared=True) as held,
        closing(address.beside(held)) as one,
        closing(address.beside(held)) as two,
    ):
        address.listen_first(one)
        two.listen()
        with closing(address.beside(held)) as three:  # of a worker that was started again
            three.listen()
        calls = [socket.create_connection(held.getsockname()) for _ in range(64)]
        shares = accepted(one), accepted(two)
        assert sum(shares) == len(calls)
        assert min(shares) > 8, shares
        for call in calls:
            call.close()


def test_of_two_commands_that_bind_one_address_the_first_to_listen_has_it() -> None:
    with (
        address.bound(HOST, 0, shared=True) as ours,
        address.bound(HOST, port(ours), shared=True) as theirs,  # nobody listens yet
        address.bound(HOST, port(ours)) as alone,
        closing(address.beside(ours)) as one,
        closing(address.beside(theirs)) as two,
    ):
        address.listen_first(one)
        with pytest.raises(SettingsError, match=r"`CACHESERVER_PORT`.*in use"):
            address.listen_first(two)
        with pytest.raises(SettingsError, match=r"`CACHESERVER_PORT`.*in use"):
            address.listen(alone)
        with (
            pytest.raises(SettingsError, match=r"`CACHESERVER_PORT`.*in use"),
            address.bound(HOST, port(ours), shared=True),
        ):
            pass


def test_workers_are_refused_an_address_on_which_one_server_listens_by_now() -> None:
    with (
        address.bound(HOST, 0) as alone,
        address.bound(HOST, port(alone), shared=True) as held,
        closing(address.beside(held)) as one,
    ):
        address.listen(alone)
        with pytest.raises(SettingsError, match=r"`CACHESERVER_PORT`.*in use"):
            address.listen_first(one)
        with pytest.raises(SettingsError, match=r"`CACHESERVER_PORT`.*in use"):
            address.beside(held)


def test_an_address_that_another_server_has_is_refused(tmp_path: Path) -> None:
    with workers(tmp_path / "one") as one:
        taken = one.url.rpartition(":")[2]
        env = environment(tmp_path / "two", upstream="simulated", workers="2", port=taken)
        ended = run("serve", env=env)
        assert ended.returncode == 2
        assert "CACHESERVER_PORT" in ended.stderr


@pytest.mark.parametrize(
    ("count", "started", "processes"),
    [("1", "valkey", 1), ("2", "valkey", 1), ("2", "cacheserver.workers.process", 2)],
)
def test_a_server_that_lost_its_address_while_it_started_says_so_and_ends(
    tmp_path: Path, count: str, started: str, processes: int
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        taken = str(port(other))
        env = environment(tmp_path, upstream="simulated", workers=count, port=taken)
        serve = [sys.executable, "-m", "cacheserver.cli", "serve"]
        with subprocess.Popen(serve, env=env, stderr=subprocess.PIPE, text=True) as process:
            # It binds its address before it starts its store, and each worker's before the worker.
            until(
                lambda: sum(started in command(pid) for pid in children(process.pid)) == processes
            )
            pids = children(process.pid)
            other.listen()
            said = process.communicate(timeout=60)[1]
        assert process.returncode == 2, said
        (line,) = [line for line in said.splitlines() if "CACHESERVER_PORT" in line]
        assert taken in line
        assert "in use" in line
        assert "Traceback" not in said
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
