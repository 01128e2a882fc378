"""Headers of requests through the front door: ours are known or refused, HTTP's never are."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import BadRequestError

from cacheserver.simulated.directives import Fault
from tests.house import ADMIN_KEY, MODEL, House, came_from


@pytest.mark.parametrize(
    ("header", "value", "says"),
    [
        ("x-cache-tll", "0", "`x-cache-ttl`"),
        ("x-cache-namespce", "secret", "`x-cache-namespace`"),
        ("x-cache-webhook", "https://example.com/", "not known"),
        ("x-cache-decision", "dec_1", "response header"),
        ("x-cache", "no-store", "response header"),
    ],
)
async def test_a_misspelt_control_is_refused_and_nobody_is_asked(
    house: House, header: str, value: str, says: str
) -> None:
    by_message = await house.ask(headers={header: value})
    by_query = await house.http.post("/v1/query", json={"prompt": "Hi?"}, headers={header: value})
    for refused in (by_message, by_query):
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].startswith(f"`{header}`: ")
        assert says in refused.text
    assert house.asked == []


@pytest.mark.parametrize(
    "value",
    [
        *("must-revalidate", "no-transform", "max-stale", "max-stale=60", "min-fresh=60"),
        *('max-age="60"', "public, immutable", 'community="UCI"', "no-stor", "max-age=600, x"),
    ],
)
async def test_no_directive_of_http_is_refused_and_what_is_stored_is_served(
    house: House, value: str
) -> None:
    asked = [await house.ask(headers={"cache-control": value}) for _ in range(2)]
    assert [came_from(answer)[0] for answer in asked] == ["miss", "exact"]


async def test_what_tightens_is_honoured(house: House) -> None:
    private = {"cache-control": "private"}
    assert came_from(await house.ask(headers=private))[0] == "miss"
    assert came_from(await house.ask())[0] == "miss"  # the private one was not stored
    assert came_from(await house.ask(headers=private))[0] == "exact"
    lives_an_hour = {"cache-control": "min-fresh=3000"}
    assert came_from(await house.ask(headers=lives_an_hour))[0] == "exact"
    house.clock.ahead_s += 700
    assert came_from(await house.ask(headers={"cache-control": "max-age=800"}))[0] == "exact"
    assert came_from(await house.ask(headers=lives_an_hour))[0] == "miss"
    house.clock.ahead_s += 700
    malformed = {"cache-control": "max-age=soon"}
    assert came_from(await house.ask(headers=malformed))[0] == "miss"


async def test_an_answer_past_its_deadline_serves_nobody_who_asks_for_its_revalidation(
    house: House,
) -> None:
    put = {"stale_s": 600, "default_ttl_s": 60}
    await house.http.put("/admin/v1/tenants/default", json=put, headers={"x-api-key": ADMIN_KEY})
    await house.ask()
    house.clock.ahead_s += 120
    house.upstream.faults.add(Fault("error", status=500, should_retry=False, times=99))
    assert came_from(await house.ask())[0] == "stale"
    for value in ("must-revalidate", "max-stale=30", "stale-if-error=0", "min-fresh=1"):
        refused = await house.ask(headers={"cache-control": value})
        assert refused.status_code == 500, value
    allowed = await house.ask(headers={"cache-control": "max-stale=90"})
    assert came_from(allowed)[0] == "stale"


async def test_sdks_of_two_versions_and_a_browser_share_an_answer(house: House) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": question}
    old = {"anthropic-version": "2023-06-01", "anthropic-dangerous-direct-browser-access": "true"}
    first = await house.sdk().messages.create(**asked)
    for client in (house.sdk(default_headers=old), house.sdk()):
        again = await client.messages.with_raw_response.create(**asked)
        assert again.headers["x-cache"] == "exact"
        assert (await again.parse()).content == first.content
    sampled = await house.sdk(default_headers=old).messages.with_raw_response.create(
        **asked, extra_body={"temperature": 1.0}
    )
    assert sampled.headers["x-cache"] == "miss"
    with pytest.raises(BadRequestError):  # Claude's own: the stored answer is of the other version
        await house.sdk().messages.create(**asked, extra_body={"temperature": 1.0})
