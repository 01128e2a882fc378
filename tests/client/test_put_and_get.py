"""`put` and `get` against a whole server, by both clients."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cacheserver import AsyncClient, Client
from cacheserver.api.resources.own_answers import OwnAnswer
from cacheserver.client import Asked, AuthenticationError, BadRequestError, PutOptions
from tests.house import ADMIN_KEY, House

QUESTION, REWORDED = "How long do refunds take?", "How long does a refund take?"


def test_the_client_offers_the_fields_of_the_server() -> None:
    fields = {one.alias or name for name, one in OwnAnswer.model_fields.items()}
    assert fields == PutOptions.__annotations__.keys() | {"prompt", "answer"}
    assert Asked.__annotations__.keys() <= fields


async def test_what_is_put_is_found_and_what_is_not_is_none(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=0.9) as house:
        _, key = await house.parts.tenants.create_key("shop", role="write")
        async with AsyncClient(house.url, key=key) as cache:
            assert await cache.get(QUESTION, system="s") is None
            stored = await cache.put(QUESTION, "Five days.", system="s", tags=["faq"])
            assert (stored.ttl_s, stored.unstored, stored.replaced) == (3_600, None, None)
            for text, kind in ((QUESTION, "exact"), (REWORDED, "semantic")):
                found = await cache.get(text, system="s")
                assert found is not None
                assert (found.text, found.origin, found.decision.kind) == (
                    "Five days.",
                    "own",
                    kind,
                )
                assert found.entry_id == stored.entry_id
            assert await cache.get(QUESTION) is None  # another system prompt
            assert (await cache.put(QUESTION, "Six.", system="s")).replaced == stored.entry_id
            assert await cache.purge(tag="faq") == 0
            nothing = await cache.put("Where am I?", "Here.", ttl_s=0)
            assert (nothing.entry_id, nothing.unstored is not None) == (None, True)
            with pytest.raises(BadRequestError, match="`answer`"):
                await cache.put(QUESTION, " ")
            with pytest.raises(BadRequestError, match="`tenant`"):
                await cache.put(QUESTION, "x", tenant="other")
        assert house.asked == []


async def test_the_blocking_client_does_the_same(house: House) -> None:
    plain = await house.key("shop")

    def work() -> None:
        with Client(house.url, key=plain) as cache:
            with pytest.raises(AuthenticationError, match="role `write`"):
                cache.put(QUESTION, "Five days.")
            with Client(house.url, key=ADMIN_KEY) as admin:
                assert admin.put(QUESTION, "Five days.", tenant="shop").entry_id
            found = cache.get(QUESTION)
            assert found is not None
            assert (found.text, found.origin) == ("Five days.", "own")
            assert cache.get("Who are you?") is None

    await asyncio.to_thread(work)
