"""TLS with Sentinels and with a cluster, on real processes whose primaries die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.storage.connection import check_reachable, connect
from cacheserver.storage.redis_url import Tls
from tests.house import House, came_from
from tests.redis_clusters import HOST, Nodes, cluster
from tests.redis_sentinels import SERVICE, Sentinels, sentinels
from tests.tls_fronts import TlsFronts, tls_fronts

KEYS = "{cs1:}"
QUESTION = "How is an order cancelled?"
_WITHIN_S = 30.0  # a failover takes three seconds, on a machine that is not busy


@pytest.fixture
def fronts(tmp_path: Path) -> Iterator[TlsFronts]:
    with tls_fronts(tmp_path) as found:
        yield found


@pytest.fixture
def nodes(fronts: TlsFronts) -> Iterator[Nodes]:
    with cluster("valkey", front=fronts.open) as found:
        yield found


@pytest.fixture
def watched(fronts: TlsFronts) -> Iterator[Sentinels]:
    with sentinels(front=fronts.open) as found:
        yield found


def url_of(nodes: Nodes | Sentinels) -> str:
    if isinstance(nodes, Nodes):
        hosts = ",".join(f"{HOST}:{one.told}" for one in nodes.all)
        return f"rediss+cluster://{hosts}"
    hosts = ",".join(f"{HOST}:{one.told}" for one in nodes.watchers)
    return f"rediss+sentinel://{hosts}/{SERVICE}"


async def serves_through_a_failover(
    nodes: Nodes | Sentinels, fronts: TlsFronts, tmp_path: Path
) -> None:
    files: dict[str, Any] = {"redis_ca_file": fronts.ca_file, "redis_cert_file": fronts.cert_file}
    async with House.open(
        tmp_path / "data", redis_url=url_of(nodes), store_wait_s=0.25, **files
    ) as house:
        await house.ask(QUESTION)
        assert came_from(await house.ask(QUESTION))[0] == "exact"
        before, recent = fronts.accepted, house.parts.host.store.redis.recent
        nodes.kill(nodes.primary_of(KEYS) if isinstance(nodes, Nodes) else nodes.primary())
        ends = time.monotonic() + _WITHIN_S
        while came_from(await house.ask(QUESTION))[0] != "exact" or not recent.takeovers:
            assert time.monotonic() < ends
        assert fronts.accepted > before


async def refuses_what_is_not_trusted(nodes: Nodes | Sentinels, fronts: TlsFronts) -> None:
    """Nothing is sent to a server whose certificate is unknown, nor without a certificate."""
    url = url_of(nodes)
    for tls, why in [
        (Tls(cert_file=fronts.cert_file), "none of its hosts answers|certificate"),
        (Tls(ca_file=fronts.ca_file), "none of its hosts answers|certificate"),
    ]:
        client = connect(url, tls=tls, prefix=KEYS)
        with pytest.raises((SettingsError, StoreError), match=why):
            await check_reachable(client, url)
        await client.aclose()


async def test_a_cluster_is_used_over_tls_through_a_failover(
    nodes: Nodes, fronts: TlsFronts, tmp_path: Path
) -> None:
    await refuses_what_is_not_trusted(nodes, fronts)
    await serves_through_a_failover(nodes, fronts, tmp_path)


async def test_sentinels_and_their_primary_are_used_over_tls_through_a_failover(
    watched: Sentinels, fronts: TlsFronts, tmp_path: Path
) -> None:
    await refuses_what_is_not_trusted(watched, fronts)
    await serves_through_a_failover(watched, fronts, tmp_path)
