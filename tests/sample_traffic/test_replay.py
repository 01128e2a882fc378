"""The replay on a whole server: it fills every list, refuses what is not its own, and can go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core import json_text
from cacheserver.sample_traffic import replay, traffic
from tests.api.admin import ADMIN
from tests.house import House

SAMPLE = "/admin/v1/sample-traffic"


def simulated(tmp_path: Path) -> Any:
    return House.open(tmp_path, upstream="simulated", anthropic_api_key=None, similarity=None)


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[House]:
    """Yield a server as one is when nothing was asked yet."""
    async with simulated(tmp_path) as house:
        yield house


async def got(house: House, path: str) -> Any:
    response = await house.http.get(path, headers=ADMIN)
    assert response.status_code == 200, response.text
    return response.json()


async def ended(house: House) -> dict[str, Any]:
    task = house.parts.sample._task
    assert task is not None
    await asyncio.wait({task})
    found = await got(house, SAMPLE)
    assert isinstance(found, dict)
    return found


async def test_a_replay_fills_every_list(new: House) -> None:
    assert (await got(new, SAMPLE))["state"] == "none"
    begun = await new.http.post(SAMPLE, headers=ADMIN)
    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    again = await new.http.post(SAMPLE, headers=ADMIN)
    assert again.json()["began_at"] == begun.json()["began_at"]

    done = await ended(new)
    assert (done["state"], done["asked"]) == ("done", done["of"])
    outcomes = done["outcomes"]
    assert outcomes["failed"] == 1
    assert outcomes["coalesced"] == 3
    assert outcomes["deferred"] == 3
    assert outcomes["bypass"] >= 1
    assert min(outcomes["exact"], outcomes["semantic"]) >= 15
    assert min(done["labels"], done["feedback"]) >= 3

    new.clock.ahead_s += 5  # the share of wrong hits is cached so long
    usage = await got(new, f"/v1/usage?tenant={traffic.TENANT}")
    decisions = usage["totals"]["decisions"]
    assert {kind: decisions[kind] for kind in ("exact", "semantic")} == {
        kind: outcomes[kind] for kind in ("exact", "semantic")
    }
    jobs = decisions["miss"] - outcomes["miss"]  # those that have ended
    assert 0 <= jobs <= outcomes["deferred"]
    assert usage["totals"]["unpriced"] == 0
    assert usage["wrong_hits"]["labels"] >= 5
    left = await got(new, f"/admin/v1/labels/queue?tenant={traffic.TENANT}&limit=200")
    assert len(left["items"]) >= 50
    scopes = (await got(new, f"/admin/v1/scopes?tenant={traffic.TENANT}"))["items"]
    assert scopes[0]["system"].startswith(traffic.MARK)
    assert scopes[0]["labels"] >= 50
    scope = f"/admin/v1/scopes/{traffic.TENANT}/{scopes[0]['scope']}"
    wrong = [
        point["wrong"] for point in (await got(new, f"{scope}/tuning?scale=probability"))["curve"]
    ]
    assert wrong[0] == 0 < wrong[-1]
    assert (await got(new, f"/admin/v1/near-misses?tenant={traffic.TENANT}"))["items"]
    fragments = await got(new, f"/admin/v1/prompts/{traffic.TENANT}/fragments")
    assert fragments[0]["spans"][0]["kind"] == "timestamp"

    lines = await new.http.get(f"/admin/v1/labels/export?tenant={traffic.TENANT}", headers=ADMIN)
    pairs = [json.loads(line) for line in lines.text.splitlines()]
    given = [pair for pair in pairs if pair["label"] is not None]
    known = traffic.answers()
    assert len(given) == done["labels"]
    assert {pair["label"] for pair in given} == {0, 1}
    for pair in given:
        assert known.serves(pair["query_a"], pair["query_b"]) is bool(pair["label"])

    # Another replay is more of the same traffic, and served from what is stored.
    await new.http.post(SAMPLE, headers=ADMIN)
    more = await ended(new)
    assert more["outcomes"]["exact"] > outcomes["exact"]
    assert more["outcomes"]["miss"] < outcomes["miss"] / 5


async def test_it_is_removed_also_while_it_runs(new: House) -> None:
    await new.http.post(SAMPLE, headers=ADMIN)
    while not (await got(new, SAMPLE))["outcomes"].get("exact"):
        pass
    removed = await new.http.request("DELETE", SAMPLE, headers=ADMIN)
    assert removed.status_code == 200, removed.text
    assert removed.json()["deleted"]["erased"]["removed"]["answers"] > 0
    assert (await got(new, SAMPLE))["state"] == "none"
    assert await new.parts.tenants.names() == set()
    assert (await got(new, "/admin/v1/tenants"))["items"] == []
    nothing = await new.http.request("DELETE", SAMPLE, headers=ADMIN)
    assert nothing.json() == {"removed": False, "deleted": None}
    trail = (await got(new, "/admin/v1/audit-trail"))["items"]
    assert [(one["method"], one["tenant"]) for one in trail[-2:]] == [
        ("DELETE", traffic.TENANT),
        ("POST", traffic.TENANT),
    ]


async def test_a_server_that_stops_ends_the_replay_and_knows_it_later(tmp_path: Path) -> None:
    async with simulated(tmp_path) as house:
        await house.http.post(SAMPLE, headers=ADMIN)
        while not (await got(house, SAMPLE))["asked"]:
            pass
    async with simulated(tmp_path) as house:
        found = await got(house, SAMPLE)
        assert found["state"] == "stopped"
        assert 0 < found["asked"] < found["of"]
        assert found["ended_at"] is not None


async def test_a_replay_ends_that_another_server_stops(new: House) -> None:
    await new.http.post(SAMPLE, headers=ADMIN)
    sample = new.parts.sample
    other = replay.SampleTraffic(
        sample._redis,
        prefix=sample._key.removesuffix("sample"),
        clock=new.clock,
        swallowed=new.parts.metrics.swallowed,
    )
    async with asyncio.timeout(60):
        while (await other.progress()).state == "none":
            pass
    assert sample._task is not None
    replayed = sample._progress
    await other.stop_everywhere()
    await asyncio.wait({sample._task})
    assert replayed.asked < replayed.of
    assert (await got(new, SAMPLE))["state"] == "stopped"
    await other.forget()
    assert (await got(new, SAMPLE))["state"] == "none"


async def test_a_replay_that_nobody_ended_was_stopped(new: House) -> None:
    store = new.parts.host.store
    killed = replay.Progress("running", asked=7, of=300, began_at=1.0)
    await store.redis.set(f"{store.prefix}sample", json_text.dumps(killed.as_json()))
    found = await got(new, SAMPLE)
    assert (found["state"], found["asked"], found["ended_at"]) == ("stopped", 7, None)


async def test_no_sample_where_claude_is_real(house: House) -> None:
    refused = await house.http.post(SAMPLE, headers=ADMIN)
    assert refused.status_code == 409
    assert "CACHESERVER_UPSTREAM=simulated" in refused.json()["error"]["message"]
    assert (await got(house, SAMPLE))["available"] is False
    assert await house.parts.tenants.names() == set()


async def test_a_tenant_of_that_name_is_left_alone(new: House) -> None:
    await new.key(traffic.TENANT)
    refused = await new.http.post(SAMPLE, headers=ADMIN)
    assert refused.status_code == 409
    assert "not the sample's" in refused.json()["error"]["message"]
    assert (await got(new, SAMPLE))["state"] == "none"


async def test_a_sample_that_got_a_key_is_not_removed_as_one(new: House) -> None:
    await new.http.post(SAMPLE, headers=ADMIN)
    await new.key(traffic.TENANT)
    refused = await new.http.request("DELETE", SAMPLE, headers=ADMIN)
    assert refused.status_code == 409
    assert traffic.TENANT in await new.parts.tenants.names()
