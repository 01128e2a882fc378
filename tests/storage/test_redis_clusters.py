"""The clusters that other tests run on are what they claim to be."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from redis.cluster import RedisCluster

from tests.redis_clusters import HOST, Server, cluster


@pytest.mark.parametrize("server", get_args(Server))
def test_a_replica_takes_over_from_a_killed_primary(server: Server) -> None:
    with cluster(server=server) as nodes:
        assert len(nodes.all) == 6
        assert len(nodes.primaries()) == 3
        client: Any = RedisCluster(host=HOST, port=nodes.all[0].port)
        client.set("some key", "some value")
        assert client.wait(1, 5_000, target_nodes=client.get_node_from_key("some key"))
        before = nodes.primary_of("some key")
        nodes.kill(before)
        nodes.wait_failover()
        after = nodes.primary_of("some key")
        assert after is not before
        assert client.get("some key") == b"some value"
        nodes.start(before)
        assert len(nodes.live) == 6
        assert before not in nodes.primaries()
        client.close()
