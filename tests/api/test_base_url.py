"""Base URLs with and without `/v1`: the official SDK adds `/v1/...` to both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from tests.hostile.raw import request, wire
from tests.house import ADMIN_KEY, MODEL, House, came_from

MESSAGES: list[Any] = [{"role": "user", "content": "Hi?"}]
BODY: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": MESSAGES}


@pytest.fixture
def sdk(house: House) -> AsyncAnthropic:
    """A client whose base URL ends in `/v1`."""
    client = AsyncAnthropic(api_key="any", base_url=f"{house.url}/v1", max_retries=0)
    house.stack.push_async_callback(client.close)
    return client


async def test_the_sdk_works_with_a_base_url_that_ends_in_v1(
    house: House, sdk: AsyncAnthropic
) -> None:
    first = await house.sdk().messages.create(**BODY)
    again = await sdk.messages.with_raw_response.create(**BODY)
    assert again.headers["x-cache"] == "exact"
    assert (await again.parse()).content == first.content
    async with sdk.messages.stream(**BODY) as stream:
        assert await stream.get_final_text() == first.content[0].text
    counted = await sdk.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert counted.input_tokens > 0
    assert (await sdk.models.list()).data
    assert [r.path for r in house.asked] == ["/v1/messages"]
    item: Any = {"custom_id": "a", "params": BODY}
    batch = await sdk.messages.batches.create(requests=[item])
    assert (await sdk.messages.batches.retrieve(batch.id)).id == batch.id


async def test_a_second_v1_leads_to_every_route_below_v1_and_to_none_else(house: House) -> None:
    assert (await house.http.post("/v1/v1/query", json={"prompt": "Hi?"})).status_code == 200
    assert (await house.http.get("/v1/v1/stats")).status_code == 200
    assert (await house.http.head("/v1/v1/stats")).status_code == 200
    for path in (
        "/v1/v1/v1/messages",
        "/v1/v1",
        "/v1/v1/",
        "/v1//v1/messages",
        "/V1/v1/messages",
        "/v1%2Fv1/messages",
        "/v1/%76%31/messages",
        "/v1/v1/admin/v1/keys",
        "/v1/admin/v1/keys",
        "/v1/v1/healthz",
        "/v1/v1/../admin/v1/keys",
        "/v1/v1/..%2Fadmin/v1/keys",
        "/admin/v1/v1/keys",
    ):
        async with wire(house) as line:
            line.send(request(b"", method="GET", target=path, headers=[("x-api-key", ADMIN_KEY)]))
            status, _, _ = await line.answer()
        assert status in (401, 403, 404, 405), path
    assert not [one.path for one in house.upstream.requests if "/v1/v1" in one.path]
    for path in ("/v1%2Fv1/query", "/v1/v1%2Fquery", "/v1/%76%31/query"):
        async with wire(house) as line:
            line.send(request({"prompt": "Hi?"}, target=path))
            assert (await line.answer())[0] in (403, 404), path
    wrong = await house.http.get("/v1/v1/nothing")
    assert wrong.headers["x-cache-reason"] == "refused"


async def test_a_second_v1_needs_the_key_that_one_needs(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        key = await house.key("acme")
        for path in ("/v1/messages", "/v1/v1/messages"):
            refused = await house.http.post(path, json=BODY)
            assert refused.status_code == 401
            asked = await house.http.post(path, json=BODY, headers={"x-api-key": key})
            assert came_from(asked)[0] in ("miss", "exact")
