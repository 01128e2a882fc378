"""Trials for the admin: thresholds, gold sets, what was shown, and the route that follows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.simulated import Directives
from tests.house import ADMIN_KEY, House

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
AT = "/admin/v1/routing/default"
TASK = {"x-cache-task": "extraction"}
GOLD = "\n".join(json.dumps({"prompt": f"Case {i}?", "expected": "refund"}) for i in range(40))


class Claude:
    """What each model says."""

    def __init__(self) -> None:
        self.says: dict[str, str] = {}

    def __call__(self, body: Mapping[str, Any]) -> Directives | None:
        judging = "answer_a" in str(body["messages"][-1]["content"])
        text = "SAME" if judging else self.says.get(body["model"])
        return None if text is None else Directives(text=text)


@pytest.fixture
def claude() -> Claude:
    return Claude()


@pytest.fixture
async def house(tmp_path: Path, claude: Claude) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=claude) as opened:
        yield opened


async def call(house: House, method: str, path: str, **given: Any) -> Any:
    answer = await house.http.request(method, f"{AT}{path}", headers=ADMIN, **given)
    assert answer.is_success, answer.text
    return answer.json()


async def set_trials(house: House, **trials: Any) -> None:
    tasks = {"extraction": {"tier": "low", "min_agreement": 0.9}}
    rules = {"routing": {"tasks": tasks, "trials": trials}}
    put = await house.http.put("/admin/v1/tenants/default", json=rules, headers=ADMIN)
    assert put.status_code == 200, put.text


async def route(house: House, text: str) -> str:
    answer = await house.ask(text, model="auto", headers=TASK)
    await house.parts.trials.live.drain()
    house.clock.ahead_s += 16
    return str(answer.headers["x-cache-route"])


async def test_trials_of_live_requests_bring_a_task_to_its_tier_and_back(
    house: House, claude: Claude
) -> None:
    house.clock.to_noon()  # what trials have spent is told of a day
    await set_trials(house, share=1.0)
    claude.says |= {HAIKU: "refund", SONNET: "Refund."}
    assert [await route(house, f"Case {i}?") for i in range(35)] == [
        f"{SONNET}; trial-unproven"
    ] * 35
    assert await route(house, "Case 35?") == f"{HAIKU}; task"
    claude.says[SONNET] = "It is not stated anywhere."
    routes = [await route(house, f"Case {i}?") for i in range(36, 44)]
    assert routes[0] == f"{HAIKU}; task"
    assert routes[-1] == f"{SONNET}; trial-rolled-back"
    told = await call(house, "GET", "/trials")
    (pair,) = told["pairs"]
    assert (pair["task"], pair["from_model"], pair["to_model"]) == ("extraction", SONNET, HAIKU)
    assert (pair["standing"], pair["min_agreement"]) == ("rolled-back", 0.9)
    (alert,) = told["alerts"]
    assert (alert["reason"], alert["agreed"]) == ("trial-rolled-back", 36)
    assert float(told["spent_usd"]) == pytest.approx(float(pair["cost_usd"]))


@pytest.mark.parametrize(("judge", "agreed", "undecided"), [(True, 1, 0), (False, 0, 1)])
async def test_claude_judges_what_is_undecided_where_the_tenant_wants_it(
    tmp_path: Path, claude: Claude, judge: bool, agreed: int, undecided: int
) -> None:
    claude.says = {
        HAIKU: "The capital of France is Paris, on the river Seine.",
        SONNET: "France is governed from Paris, its capital and largest city.",
    }
    async with House.open(tmp_path, claude=claude, judge_usd_per_day=1.0, judge_share=1.0) as house:
        await set_trials(house, share=1.0, judge=judge)
        await route(house, "What is the capital of France?")
        (pair,) = (await call(house, "GET", "/trials"))["pairs"]
        assert (pair["agreed"], pair["undecided"]) == (agreed, undecided)


async def test_a_gold_set_is_uploaded_run_and_removed(house: House, claude: Claude) -> None:
    claude.says[HAIKU] = "Refund."
    await call(
        house,
        "PUT",
        "/thresholds",
        json={"task": "extraction", "tier": "low", "min_agreement": 0.9},
    )
    put = await call(house, "PUT", "/gold/extraction", content=GOLD)
    assert put == {"task": "extraction", "items": 40}
    begun = await call(house, "POST", "/gold/extraction/run")
    assert (begun["state"], begun["model"], begun["items"]) == ("running", HAIKU, 40)
    await house.parts.trials.gold.idle()
    kept = await call(house, "GET", "/gold/extraction")
    assert (kept["last_run"]["state"], kept["last_run"]["right"]) == ("counted", 40)
    assert kept["items"][0]["expected"] == "refund"
    (pair,) = (await call(house, "GET", "/trials"))["pairs"]
    assert (pair["standing"], pair["gold"]["right"]) == ("proven", 40)
    assert pair["gold"]["interval"][0] > 0.9
    await call(house, "DELETE", "/gold/extraction")
    assert (await call(house, "GET", "/trials"))["gold"] == []


async def test_a_threshold_is_set_and_taken_away_and_nothing_else_changes(house: House) -> None:
    await set_trials(house, share=0.5)
    given = {"task": "qa", "tier": "low", "min_agreement": 0.8}
    assert (await call(house, "PUT", "/thresholds", json=given))["task"] == "short_qa"
    await call(house, "PUT", "/thresholds", json={"task": "extraction", "tier": "low"})
    rules = (await house.parts.tenants.get("default")).routing
    assert rules.tasks["short_qa"].min_agreement == 0.8
    assert rules.tasks["extraction"].min_agreement is None
    assert rules.trials.share == 0.5


@pytest.mark.parametrize(
    ("method", "path", "body", "names"),
    [
        ("PUT", "/thresholds", {"task": "poetry", "tier": "low"}, ["`task`", "`extraction`"]),
        ("PUT", "/thresholds", {"task": "code", "tier": "high"}, ["`tier`", "`low` or `middle`"]),
        ("PUT", "/thresholds", {"task": "code"}, ["`tier`"]),
        (
            "PUT",
            "/thresholds",
            {"task": "code", "tier": "low", "min_agreement": 1.1},
            ["`min_agreement`"],
        ),
        ("PUT", "/thresholds", {"tsk": "code"}, ["`tsk`"]),
        ("PUT", "/gold/poetry", {"prompt": "a", "expected": "b"}, ["`task`", "`extraction`"]),
        ("PUT", "/gold/code", {"prompt": "a"}, ["`line 1.expected`"]),
        ("POST", "/gold/code/run", {"tier": "best"}, ["`tier`", "`low` or `middle`"]),
        ("POST", "/gold/code/run", {"model": "x"}, ["`model`"]),
    ],
)
async def test_what_will_not_do_is_refused_and_what_there_is_is_named(
    house: House, method: str, path: str, body: object, names: list[str]
) -> None:
    refused = await house.http.request(method, f"{AT}{path}", json=body, headers=ADMIN)
    assert refused.status_code == 400
    assert all(name in refused.json()["error"]["message"] for name in names)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/gold/code"), ("DELETE", "/gold/code"), ("POST", "/gold/code/run")],
)
async def test_a_set_that_is_not_there_is_not_found(house: House, method: str, path: str) -> None:
    missed = await house.http.request(method, f"{AT}{path}", headers=ADMIN)
    assert missed.status_code == 404


async def test_only_the_admin_key_is_let_in(house: House) -> None:
    for method, path in (
        ("GET", "/trials"),
        ("PUT", "/thresholds"),
        ("PUT", "/gold/code"),
        ("GET", "/gold/code"),
        ("DELETE", "/gold/code"),
        ("POST", "/gold/code/run"),
    ):
        refused = await house.http.request(method, f"{AT}{path}", headers={"x-api-key": "any"})
        assert refused.status_code == 401
