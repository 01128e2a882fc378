"""Break-even, and advice on prefixes: by numbers, and through the front door."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.core.money import nanodollars
from cacheserver.promptcache import advice
from cacheserver.promptcache.multipliers import Rates
from cacheserver.promptcache.planner import Gaps, PrefixStats
from tests.api.admin import ADMIN
from tests.house import House
from tests.promptcache.test_session import SYSTEM, asked

# Anthropic's multipliers, and a price of 2 dollars for a million tokens.
USUAL = Rates(read=0.1, write_5m=1.25, write_1h=2.0, input=2_000.0)


def test_a_mark_pays_from_the_first_or_second_read_on() -> None:
    # 5 minutes: 1.25 + 0.1 is under 2. An hour: 2 + 0.1 is not, 2 + 0.2 is under 3.
    assert [advice.break_even(USUAL, ttl).reads for ttl in ("5m", "1h")] == [1, 2]
    assert advice.break_even(USUAL, "5m").chance == pytest.approx(0.25 / 1.15)
    assert advice.break_even(USUAL, "1h").chance == pytest.approx(1 / 1.9)
    nothing = Rates(read=1.0, write_5m=1.25, write_1h=2.0, input=1.0)
    assert advice.break_even(nothing, "5m") == advice.BreakEven(0, 1.0)


@pytest.mark.parametrize(
    ("stats", "code", "ttl", "words"),
    [
        (PrefixStats(sightings=9, void=True), "too-short", None, "minimum"),
        (PrefixStats(sightings=1.0), "seen-once", None, "one read"),
        (PrefixStats(sightings=20, gaps=Gaps(20, 0, 0)), "pays", "5m", "5 minutes"),
        (PrefixStats(sightings=20, gaps=Gaps(0, 20, 0)), "pays", "1h", "an hour"),
        (PrefixStats(sightings=20, gaps=Gaps(1, 0, 19)), "rarely-reused", None, "22%"),
    ],
)
def test_advice_names_what_decides(
    stats: PrefixStats, code: str, ttl: str | None, words: str
) -> None:
    found = advice.advise(stats, USUAL)
    assert (found.code, found.ttl) == (code, ttl)
    assert words in found.text


def test_tokens_cost_what_their_kind_does() -> None:
    tokens = {"input": 100, "cache_write_5m": 40, "cache_write_1h": 10, "cache_read": 1_000}
    costs, plain = advice.use_cost(tokens, USUAL)
    assert costs == {
        "input": 200_000, "cache_write_5m": 100_000, "cache_write_1h": 40_000,
        "cache_read": 200_000,
    }  # fmt: skip
    assert plain == 1_150 * 2_000


def test_advice_on_fragments_says_where_and_what_to_change() -> None:
    spans: list[dict[str, Any]] = [
        {"start": 400, "end": 405, "kind": "number"}, {"start": 120, "end": 130, "kind": "date"},
    ]  # fmt: skip
    text = advice.of_fragments(spans, 1_120)
    assert "character 120" in text
    assert "1,000 characters" in text
    assert "move_dynamic" not in text  # numbers stay where they are
    assert "move_dynamic` moves" in advice.of_fragments(spans[1:], 1_120)
    assert "at the end already" in advice.of_fragments(spans[1:], 131)


async def test_an_admin_sees_where_tokens_go_and_which_prefixes_pay(house: House) -> None:
    for number in range(6):
        await asked(house, number)
    shown = (await house.http.get("/admin/v1/prompts/default", headers=ADMIN)).json()
    where = {one["kind"]: one for one in shown["where"]}
    assert where["cache_read"]["tokens"] == shown["read"]
    written = where["cache_write_5m"]["tokens"] + where["cache_write_1h"]["tokens"]
    assert written == shown["written"] > 0
    assert sum(one["tokens"] for one in where.values()) == shown["prompt"]
    assert sum(one["share"] for one in where.values()) == pytest.approx(1, abs=0.001)
    costs = sum(nanodollars(one["cost_usd"]) for one in where.values())
    assert nanodollars(shown["prompt_usd"]) == costs
    gain = nanodollars(shown["plain_usd"]) - costs
    assert gain == pytest.approx(nanodollars(shown["gain_usd"]), rel=0.01)
    page = (await house.http.get("/admin/v1/prompts/default/prefixes", headers=ADMIN)).json()
    top = page["items"][0]
    assert (top["live"], top["advice"]["code"]) == (True, "pays")
    assert top["reuse"]["5m"] > 0.8
    assert nanodollars(top["account_usd"]) > 0
    assert page["break_even"]["5m"]["reads"] == 1
    assert page["count"] == len(page["items"])
    first = await house.http.get(
        "/admin/v1/prompts/default/prefixes", headers=ADMIN, params={"limit": 1}
    )
    rest = await house.http.get(
        "/admin/v1/prompts/default/prefixes",
        headers=ADMIN,
        params={"cursor": first.json()["next"]},
    )
    assert [*first.json()["items"], *rest.json()["items"]] == page["items"]


async def test_wrong_parameters_of_prefixes_are_named(house: House) -> None:
    for query, field in (
        ("model=unheard-of", "model"), ("model=", "model"), ("limit=0", "limit"),
        ("cursor=-1", "cursor"), ("colour=red", "colour"),
    ):  # fmt: skip
        got = await house.http.get(f"/admin/v1/prompts/default/prefixes?{query}", headers=ADMIN)
        assert got.status_code == 400, query
        assert f"`{field}`" in got.json()["error"]["message"]


async def test_fragments_have_advice_in_words(house: House) -> None:
    for minute in range(3):
        await house.ask("What do you sell?", system=f"{SYSTEM}\nNow it is 2026-11-21 04:0{minute}.")
    (family,) = (await house.http.get("/admin/v1/prompts/default/fragments", headers=ADMIN)).json()
    assert family["chars"] == pytest.approx(len(SYSTEM) + 30, rel=0.02)
    assert "timestamp" in family["advice"]
    assert f"{family['spans'][0]['start']:,}" in family["advice"]
