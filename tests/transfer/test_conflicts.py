"""Imports over what is there: an operator's words stand, and an edited answer is no import's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.admin import ADMIN
from tests.house import House
from tests.transfer.imports import FAQ, IMPORTS, REQUEST, SYSTEM, begun, curate, imported, send
from tests.transfer.test_exports import EXPORT, exported

NEWER = [{**FAQ[0], "answer": "Within 14 days.", "where": "faq.csv:2"}]


async def answer(house: House, key: str) -> str:
    got = await house.ask(FAQ[0]["question"], key=key, system=SYSTEM)
    return str(got.json()["content"][0]["text"])


async def test_what_an_operator_curated_stands_unless_the_import_says_so(house: House) -> None:
    key = await house.key("shop")
    await imported(house)
    await curate(house)
    done = await imported(house, NEWER)
    assert (done["batch"], done["counts"]["conflict"]) == ({"conflict": 1}, 1)
    (problem,) = done["problems"]
    assert (problem["where"], "`replace`" in problem["why"]) == ("faq.csv:2", True)
    assert await answer(house, key) == "Ask Ann."
    done = await imported(house, NEWER, replace=True)
    assert (done["batch"], done["replace"]) == ({"replaced": 1}, True)
    assert await answer(house, key) == "Within 14 days."
    # A later version of what an import brought needs no such word.
    assert (await imported(house, FAQ[:1]))["batch"] == {"replaced": 1}


async def test_an_export_keeps_to_it_too(house: House) -> None:
    key = await house.key("shop")
    await imported(house)
    items = await exported(house)
    await curate(house)
    for replaces, count in ((False, "conflict"), (True, "replaced")):
        job = await begun(house, **EXPORT, replace=replaces)
        got = await send(house, job, items, request=None)
        assert got.json()["batch"] == {"unchanged": 2, count: 1}
    assert await answer(house, key) == FAQ[0]["answer"]


async def test_an_expired_answer_of_an_operator_gives_way(house: House) -> None:
    key = await house.key("shop")
    await imported(house, FAQ[:1], ttl_s=60)
    await curate(house)
    house.clock.ahead_s += 61
    assert (await imported(house, NEWER))["batch"] == {"stored": 1}
    assert await answer(house, key) == "Within 14 days."


async def test_undoing_an_import_leaves_what_was_edited_since(house: House) -> None:
    key = await house.key("shop")
    done = await imported(house, tags=["faq"])
    await curate(house)
    undone = await house.http.delete(f"{IMPORTS}/shop/{done['id']}", headers=ADMIN)
    assert undone.json()["removed"] == {"entries": 2, "labels": 0}
    assert await answer(house, key) == "Ask Ann."
    (left,) = await exported(house)
    assert left["tags"] == ["faq"]


async def test_a_batch_sent_again_after_an_edit_does_not_undo_the_edit(house: House) -> None:
    key = await house.key("shop")
    job = await begun(house)
    await send(house, job, FAQ[:1], last=False)
    await curate(house)
    again = await send(house, job, FAQ[:1], last=False)
    assert (again.json()["batch"], await answer(house, key)) == (None, "Ask Ann.")
    other = await send(house, await begun(house), FAQ[:1])  # the same file, begun anew
    assert (other.json()["batch"], await answer(house, key)) == ({"conflict": 1}, "Ask Ann.")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"replace": "x"}, "replace"),
        ({"replace": True, "curated": False}, "replace"),
        ({"tags": ["import:imp_1"]}, "tags"),
    ],
)
async def test_a_wrong_option_is_named(house: House, fields: dict[str, Any], says: str) -> None:
    await house.key("shop")
    body = {"tenant": "shop", "request": REQUEST, **fields}
    got = await house.http.post(IMPORTS, json=body, headers=ADMIN)
    assert (got.status_code, says in got.json()["error"]["message"]) == (400, True)


async def test_no_record_brings_the_tag_of_another_import(house: House) -> None:
    await house.key("shop")
    first = await imported(house, FAQ[:1])
    done = await imported(house, [{**FAQ[1], "tags": [first["tag"]]}])
    assert (done["batch"], "tags" in done["problems"][0]["why"]) == ({"refused": 1}, True)
