"""A namespace is reached by two links, of which the one to the store can be cut."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from scripts.chaos_run.network import MOST, Network, NoNamespaces, networks

BRIEFLY_S = 0.5  # what is lost does not arrive within
WITHIN_S = 20.0  # TCP sends again after a while
# Repeats to one address what another sends.
RELAY = """
import socket, sys
first, second = (socket.create_connection(tuple(one.split())) for one in sys.argv[1:])
while data := first.recv(100):
    second.sendall(data)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with ExitStack() as stack:
        try:
            [found] = networks(1, stack)
        except NoNamespaces as error:
            pytest.skip(str(error))
        yield found


def test_a_cut_link_loses_packets_and_no_connection(network: Network) -> None:
    with ExitStack() as stack:
        ends = [
            stack.enter_context(socket.create_server((at, 0)))
            for at in (network.store, network.others)
        ]
        for one in ends:
            one.settimeout(WITHIN_S)
        names = [f"{host} {port}" for host, port in (one.getsockname() for one in ends)]
        command = (*network.prefix, sys.executable, "-c", RELAY, *names)
        relay = stack.enter_context(subprocess.Popen(command))
        stack.callback(relay.kill)
        store, others = (stack.enter_context(one.accept()[0]) for one in ends)
        others.settimeout(WITHIN_S)
        store.sendall(b"one")
        assert others.recv(3) == b"one"
        network.cut()
        store.sendall(b"two")
        others.settimeout(BRIEFLY_S)
        with pytest.raises(TimeoutError):
            others.recv(3)
        network.mend()
        others.settimeout(WITHIN_S)
        assert others.recv(3) == b"two"


def test_namespaces_of_two_runs_are_apart_and_gone_afterwards(network: Network) -> None:
    with ExitStack() as stack:
        others = networks(2, stack)
        assert not {network.store, network.server} & {
            address for one in others for address in (one.store, one.server)
        }
        assert all(one.name in named() for one in others)
    assert not any(one.name in named() for one in others)


def test_more_servers_than_addresses_have_none() -> None:
    with ExitStack() as stack, pytest.raises(NoNamespaces):
        networks(MOST + 1, stack)


def named() -> str:
    return subprocess.run(
        ("ip", "netns", "list"), capture_output=True, text=True, check=True
    ).stdout
