"""Reading, with a tenant's key, of requests that another key of the tenant made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2

from tests.api.admin import ADMIN, PARIS, put
from tests.house import MODEL, House, came_from

SECRET = "What is Ann's salary in the vault?"
SYSTEM = "You know what is in the vault."
LISTS = ("/v1/decisions", "/v1/entries")


async def asked(house: House, key: str, text: str = SECRET) -> list[str]:
    """Ask a question. Returns the paths of its decision and of its stored answer."""
    answer = await house.ask(text, key=key, system=SYSTEM)
    assert came_from(answer)[0] in ("miss", "exact")
    await house.parts.decision_log.flush()
    return [
        f"/v1/decisions/{answer.headers['x-cache-decision']}",
        f"/v1/entries/{answer.headers['x-cache-entry']}",
    ]


async def got(house: House, path: str, key: str, **params: Any) -> httpx2.Response:
    return await house.http.get(path, headers={"x-api-key": key}, params=params or None)


async def test_a_key_reads_no_text_of_another_key_of_its_tenant(house: House) -> None:
    ann, bob = await house.key("shop"), await house.key("shop")
    paths = await asked(house, ann)
    for path in (*LISTS, *paths):
        found = await got(house, path, bob)
        assert found.status_code == 200, found.text
        assert "vault" not in found.text
        assert '"other-key"' in found.text
    (item,) = (await got(house, "/v1/decisions", bob)).json()["items"]
    assert (item["asked"], item["system"], item["fingerprint"]) == (None, None, None)
    assert item["decision"]["reason"] == "empty"  # figures and reasons stay
    assert item["cost_usd"] is not None
    assert (await got(house, paths[0], bob)).json() == item
    (entry,) = (await got(house, "/v1/entries", bob)).json()["items"]
    assert (entry["question"], entry["answer"], entry["withheld"]) == (None, None, "other-key")
    whole = (await got(house, paths[1], bob)).json()
    assert (whole["message"], whole["fingerprint"]) == (None, None)
    assert whole["cost_usd"] == item["cost_usd"]


async def test_a_key_reads_its_own_questions_and_finds_no_others_by_a_text(house: House) -> None:
    ann, bob = await house.key("shop"), await house.key("shop")
    path, stored = await asked(house, ann)
    own = (await got(house, path, ann)).json()
    assert (own["asked"], own["system"], "withheld" in own) == (SECRET, SYSTEM, False)
    assert (await got(house, "/v1/decisions", ann, text="vault")).json()["items"] == [own]
    assert (await got(house, "/v1/decisions", bob, text="vault")).json()["items"] == []
    # A stored answer does not say whose it is: it may have been served to others since.
    assert (await got(house, stored, ann)).json()["question"] is None
    for key in (ann, bob):
        refused = await got(house, "/v1/entries", key, text="vault")
        assert refused.status_code == 400
        assert "`text`" in refused.text
        assert "`keys_read_content`" in refused.text


async def test_a_question_served_by_anothers_answer_is_read_by_who_was_served(house: House) -> None:
    ann, bob = await house.key("shop"), await house.key("shop")
    await asked(house, ann)
    path, _ = await asked(house, bob)
    served = (await got(house, path, bob)).json()
    assert (served["outcome"], served["asked"]) == ("exact", SECRET)
    assert "vault" not in (await got(house, path, ann)).text


async def test_a_served_question_of_another_key_is_not_shown_to_who_was_served(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path, similarity=0.5) as house:
        ann, bob = await house.key("shop"), await house.key("shop")
        other = "In the vault, what is Ann's salary?"
        for key, text in ((ann, SECRET), (bob, SECRET), (bob, other)):
            body = {"prompt": text, "system": SYSTEM, "model": MODEL}
            answer = await house.http.post("/v1/query", json=body, headers={"x-api-key": key})
            assert answer.status_code == 200, answer.text
            if key == ann:
                continue
            shown = answer.json()
            await house.parts.decision_log.flush()
            path = f"/v1/decisions/{shown['decision_id']}"
            kept = (await got(house, path, key)).json()
            listed = (await got(house, "/v1/decisions", key)).json()["items"][0]
            assert kept["asked"] == listed["asked"] == text
            for decision in (shown["decision"], kept["decision"], listed["decision"]):
                assert decision["kind"] == ("exact" if text == SECRET else "semantic")
                expected = SECRET if text == SECRET else None
                assert decision["question"] == expected
                questions = [one["question"] for one in decision["candidates"]]
                assert not [one for one in questions if one not in (None, expected)]
        await put(house, "tenants/shop", keys_read_content=True)
        house.parts.tenants.forget("shop")
        assert (await got(house, path, bob)).json()["decision"]["question"] == SECRET


async def test_an_operator_has_all_keys_of_a_tenant_read_everything(house: House) -> None:
    ann, bob = await house.key("shop"), await house.key("shop")
    paths = await asked(house, ann)
    await put(house, "tenants/shop", keys_read_content=True)
    house.parts.tenants.forget("shop")
    for path in (*LISTS, *paths):
        assert SECRET in (await got(house, path, bob)).text
    for path in LISTS:
        (item,) = (await got(house, path, bob, text="VAULT")).json()["items"]
        assert "withheld" not in item
    other = await house.key("other")
    for path in LISTS:
        assert (await got(house, path, other)).json()["items"] == []


async def test_admins_read_all_as_before(house: House) -> None:
    await asked(house, await house.key("shop"))
    for path in ("decisions", "entries"):
        found = await house.http.get(f"/admin/v1/{path}", headers=ADMIN, params={"text": "vault"})
        assert SECRET in found.text


async def test_without_keys_what_was_asked_without_one_is_read(house: House) -> None:
    path, _ = await asked(house, "any")
    assert (await house.http.get(path)).json()["asked"] == SECRET
    key = await house.key("default")
    assert (await got(house, path, key)).json()["asked"] is None


async def test_a_rotated_key_reads_what_it_asked_before(house: House) -> None:
    ann = await house.key("shop")
    path, _ = await asked(house, ann)
    (key,) = (await house.http.get("/admin/v1/keys", headers=ADMIN)).json()["items"]
    rotated = await house.http.post(
        f"/admin/v1/keys/{key['id']}/rotate", headers=ADMIN, json={"overlap": 0}
    )
    assert (await got(house, path, rotated.json()["key"])).json()["asked"] == SECRET


async def test_a_caller_with_a_key_of_their_own_reads_all_that_it_made(tmp_path: Path) -> None:
    async with House.open(tmp_path, credentials="caller", anthropic_api_key=None) as house:
        paths = await asked(house, "sk-ant-theirs", PARIS)
        for path in (*LISTS, *paths):
            assert PARIS in (await got(house, path, "sk-ant-theirs")).text
            assert PARIS not in (await got(house, path, "sk-ant-others")).text
