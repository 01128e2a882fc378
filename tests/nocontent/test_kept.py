"""Nothing that a tenant without content said can be read or guessed from what is kept of it.

Each look finds the same of an ordinary tenant, so that it can fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.erasure.helpers import ADMIN, echo, ended
from tests.house import House, came_from
from tests.nocontent.traffic import (
    ALL_PIECES,
    GUESSED,
    asked,
    fill_more,
    guessed,
    kept_of,
    opened,
    texts,
    without_content,
)


async def test_nothing_that_is_kept_says_what_was_asked(house: House, tmp_path: Path) -> None:
    plain, sealed = await house.key("plain"), await without_content(house, "sealed")
    await fill_more(house, "ann", plain)
    await fill_more(house, "bob", sealed)
    kept = await kept_of(house, tmp_path)
    # Sealed is the content of both; what can be guessed is so of the ordinary one alone.
    assert texts("bob", kept) == set()
    assert await guessed(house, "plain", "ann", kept) >= GUESSED
    assert await guessed(house, "sealed", "bob", kept) == set()


async def test_the_search_finds_texts_where_nothing_is_encrypted(tmp_path: Path) -> None:
    async with opened(tmp_path, encryption_key_file=None) as house:
        await fill_more(house, "ann", await house.key("plain"))
        kept = await kept_of(house, tmp_path)
        # Of the system prompt its beginning is kept for a day, of earlier turns only digests are.
        assert texts("ann", kept) == {*ALL_PIECES} - {"first"}
        assert await guessed(house, "plain", "ann", kept) >= GUESSED


async def test_hits_are_as_for_others_and_after_a_restart_too(tmp_path: Path) -> None:
    said, claude = "How do I reset my password?", Simulated(SimulatedSettings(direct=echo))
    async with serve_simulated(claude) as upstream, opened(tmp_path, upstream=upstream) as house:
        key = await without_content(house, "sealed")
        assert (await house.ask(said, key=key)).headers["x-cache"] == "miss"
        assert came_from(await house.ask(said, key=key)) == ("exact", "identical")
        near = await house.ask("how do I reset my password", key=key)
        assert near.headers["x-cache"] == "semantic"
        streamed = await house.ask(said, key=key, stream=True)
        assert streamed.headers["x-cache"] == "exact"
        assert said in streamed.text
        for came in ("miss", "exact"):
            shown = await house.http.post(
                "/v1/query", json={"prompt": said}, headers={"x-api-key": key}
            )
            assert shown.json()["decision"]["kind"] == came
            assert said in shown.json()["text"]
        batch = await house.http.post(
            "/v1/messages/batches",
            json={
                "requests": [
                    {"custom_id": f"item-{at}", "params": asked(text)}
                    for at, text in enumerate((said, "how do I reset my password"))
                ]
            },
            headers={"x-api-key": key},
        )
        called = len(claude.requests)
        done = await ended(house, batch.json()["id"], key)
        assert done["counts"]["succeeded"] == 2
        assert len(claude.requests) == called
        for place in range(2):
            fields = {"prompt": "And then?", "conversation": "talk"}
            told = await house.http.post("/v1/query", json=fields, headers={"x-api-key": key})
            assert told.status_code == 200, told.text
            assert len(claude.requests[-1].body["messages"]) == 1 + 2 * place
        other = await house.key("plain")
        assert (await house.ask(said, key=other)).headers["x-cache"] == "miss"
        called = len(claude.requests)
    # Who answers is part of what is asked: the next server has the same Claude, if out of reach.
    async with opened(tmp_path, upstream=upstream) as house:
        assert came_from(await house.ask(said, key=key)) == ("exact", "identical")
        near = await house.ask("how do I reset my password", key=key)
        assert near.headers["x-cache"] == "semantic"
        assert said in near.text
        assert len(claude.requests) == called


async def test_two_tenants_have_nothing_in_common_for_one_question(house: House) -> None:
    found: list[dict[str, Any]] = []
    for tenant in ("one", "two", "plain"):
        key = await house.key(tenant)
        if tenant != "plain":
            key = await without_content(house, tenant)
        asked = await house.ask(key=key, metadata={"user_id": "ann"})
        id = asked.headers["x-cache-decision"]
        await house.parts.decision_log.flush()
        shown = await house.http.get(f"/admin/v1/tenants/{tenant}/decisions/{id}", headers=ADMIN)
        found.append(shown.json())
    for name in ("fingerprint", "scope", "actor"):
        assert len({one[name] for one in found}) == 3, name
    assert [one.get("withheld") for one in found] == ["no-content", "no-content", None]
    assert [one["asked"] is None for one in found] == [True, True, False]
