"""Files whose digests were edited: nobody is served what another tenant imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.admin import ADMIN
from tests.house import MODEL, House, came_from
from tests.nocontent.traffic import opened, without_content
from tests.transfer.imports import FAQ, SYSTEM, begun, imported, send
from tests.transfer.test_exports import EXPORT, exported, restored

ASKED, SIMILAR = FAQ[0]["question"], "How do I return my order?"
LIE = "Send it to me."


async def forged(house: House, tmp_path: Path, **fields: Any) -> dict[str, Any]:
    """An item of `shop` with the digests of a request that `bank` has not sent here yet."""
    await house.key("shop")
    await imported(house, FAQ[:1])
    (mine,) = await exported(house)
    upstream = house.parts.host.settings.upstream
    async with House.open(tmp_path / "elsewhere", upstream=upstream) as other:
        key = await other.key("bank")
        await other.ask(ASKED, key=key, system=SYSTEM)
        (theirs,) = await exported(other, "bank")
    digests = {name: theirs[name] for name in ("fingerprint", "scope")}
    message = {**mine["message"], "content": [{"type": "text", "text": LIE}]}
    return {**mine, **digests, "message": message, **fields}


@pytest.fixture(params=["plain", "encrypted"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    opening = House.open(tmp_path / "one") if request.param == "plain" else opened(tmp_path)
    async with opening as house:
        yield house


def text_of(got: Any) -> str:
    return str(got.json()["content"][0]["text"])


@pytest.mark.parametrize("curated_by", ["ann", None])
async def test_no_tenant_is_served_what_another_imported_under_its_digest(
    server: House, tmp_path: Path, curated_by: str | None
) -> None:
    item = await forged(server, tmp_path, curated_by=curated_by)
    assert (await restored(server, [item]))["batch"] == {"stored": 1}
    key = await server.key("bank")
    only = {"cache-control": "only-if-cached"}
    for question in (SIMILAR, ASKED):
        got = await server.ask(question, key=key, system=SYSTEM, headers=only)
        assert (got.status_code, LIE in got.text) == (404, False)
    first = await server.ask(ASKED, key=key, system=SYSTEM)
    assert (came_from(first)[0], text_of(first) == LIE) == ("miss", False)
    # It does not keep bank's own answer from being stored, whoever is said to have written it.
    again = await server.ask(ASKED, key=key, system=SYSTEM)
    assert (came_from(again)[0], text_of(again)) == ("exact", text_of(first))


async def test_an_answer_of_ones_own_takes_the_place_of_a_forged_one(
    server: House, tmp_path: Path
) -> None:
    item = await forged(server, tmp_path)
    await restored(server, [item])
    _, key = await server.parts.tenants.create_key("bank", role="write")
    body = {
        "prompt": ASKED,
        "system": SYSTEM,
        "model": MODEL,
        "answer": "Never.",
        "max_tokens": 100,
    }
    got = await server.http.put("/v1/entries", json=body, headers={"x-api-key": key})
    assert (got.status_code, got.json()["replaced"]) == (200, None), got.text
    found = await server.ask(ASKED, key=key, system=SYSTEM)
    assert (came_from(found)[0], text_of(found)) == ("exact", "Never.")


async def test_a_faq_takes_the_place_of_a_forged_answer(server: House, tmp_path: Path) -> None:
    await restored(server, [await forged(server, tmp_path)])
    key = await server.key("bank")
    done = await imported(server, FAQ[:1], tenant="bank")
    assert done["batch"] == {"stored": 1}
    found = await server.ask(ASKED, key=key, system=SYSTEM)
    assert (came_from(found)[0], text_of(found)) == ("exact", FAQ[0]["answer"])


async def test_an_entry_of_another_namespace_is_not_served(house: House) -> None:
    key = await house.key("shop")
    await imported(house, FAQ[:1])
    (item,) = await exported(house)
    await house.http.post("/admin/v1/purge", json={"tenant": "shop"}, headers=ADMIN)
    house.clock.ahead_s += 1
    done = await restored(house, [{**item, "namespace": "vault"}])
    assert done["batch"] == {"stored": 1}
    assert came_from(await house.ask(ASKED, key=key, system=SYSTEM))[0] == "miss"


async def test_an_export_begun_before_a_tenant_gave_up_its_content_brings_nothing(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as house:
        await house.key("shop")
        await imported(house, FAQ[:1])
        items = await exported(house)
        job = await begun(house, **EXPORT)
        await without_content(house, "shop")
        got = await send(house, job, items, request=None)
        assert got.status_code == 404  # the import was erased with all else
        got = await house.http.get("/admin/v1/entries?tenant=shop", headers=ADMIN)
        assert got.json()["items"] == []
