"""`wrap`: the SDK's messages through the cache, all else straight to Claude."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anthropic import Anthropic, AnthropicBedrock, AsyncAnthropic
from pydantic import BaseModel

import cacheserver
from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.house import MODEL, House

ASKED: Any = {
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Where is Rome?"}],
}


class Place(BaseModel):
    """A shape to parse an answer into."""

    name: str = ""


async def test_messages_go_through_the_cache_and_all_else_straight(house: House) -> None:
    key = await house.key("shop")
    claude = Simulated(SimulatedSettings())
    async with (
        serve_simulated(claude) as url,
        AsyncAnthropic(api_key="sk-ant-own", base_url=url, max_retries=0) as straight,
    ):
        client = cacheserver.wrap(straight, house.url, key=key)
        assert type(client) is AsyncAnthropic
        first = await client.messages.create(**ASKED)
        raw = await client.messages.with_raw_response.create(**ASKED)
        assert raw.headers["x-cache"] == "exact"
        async with client.messages.stream(**ASKED) as stream:
            assert await stream.get_final_text() == first.content[0].text
        assert len(house.asked) == 1
        assert not claude.requests
        patient = client.with_options(timeout=5, default_headers={"x-cache-namespace": "other"})
        other = await patient.messages.with_raw_response.create(**ASKED)
        assert other.headers["x-cache"] == "miss"  # through the cache still, in another namespace
        asked = len(house.upstream.requests)
        assert (await client.models.list()).data
        assert (await patient.beta.messages.create(**ASKED)).content
        assert (await straight.messages.create(**ASKED)).content
        assert len(house.upstream.requests) == asked
        paths = [one.path for one in claude.requests]
        assert paths == ["/v1/models", "/v1/messages", "/v1/messages"]


async def test_the_blocking_client_parses_and_sends_batches(house: House) -> None:
    def work() -> None:
        straight = Anthropic(api_key="sk-ant-own", max_retries=0)
        with straight:
            client = cacheserver.wrap(straight, house.url)
            parsed = client.messages.parse(**ASKED, output_format=Place)
            assert isinstance(parsed.parsed_output, Place)
            again = client.messages.parse(**ASKED, output_format=Place)
            assert again.content == parsed.content
            assert len(house.asked) == 1
            batch = client.messages.batches.create(requests=[{"custom_id": "one", "params": ASKED}])
            assert client.messages.batches.retrieve(batch.id).id == batch.id

    await asyncio.to_thread(work)


@pytest.mark.parametrize("key", [None, "cs_ours"])
def test_a_callers_own_key_goes_along_where_the_server_wants_it(key: str | None) -> None:
    straight = Anthropic(api_key="sk-ant-own")
    through: Any = cacheserver.wrap(straight, key=key, own_key=True).messages._client
    assert through.auth_headers == {"Authorization": "Bearer sk-ant-own"}
    assert through.default_headers.get("x-cacheserver-key") == key
    kept: Any = cacheserver.wrap(Anthropic(auth_token="secret"), key="cs_ours").messages._client
    assert kept.auth_headers == {"Authorization": "Bearer cs_ours"}


def test_what_is_no_client_of_anthropics_api_is_refused() -> None:
    bedrock = AnthropicBedrock(aws_region="us-east-1", aws_access_key="a", aws_secret_key="b")
    for wrong in (bedrock, object(), Anthropic):
        with pytest.raises(TypeError, match="takes an"):
            cacheserver.wrap(wrong)
    with pytest.raises(ValueError, match="strip it"):
        cacheserver.wrap(Anthropic(api_key="x"), key="cs_x\n")
