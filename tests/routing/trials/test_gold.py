"""Gold sets, asked of a model: on demand, on schedule, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cacheserver.core.types import Tenant
from cacheserver.routing.trials import gold_rules
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from cacheserver.storage.connection import Connection
from tests.redis_servers import prefix, redis, url
from tests.routing.trials.trialdesk import HAIKU, NOW, PAIR, SONNET, Trying, tenant, trying

__all__ = ["prefix", "redis", "url"]  # fixtures


@pytest.fixture
async def desk(redis: Connection, prefix: str) -> AsyncIterator[Trying]:
    async with trying(redis, prefix) as made:
        yield made


async def upload(desk: Trying, *rows: dict[str, Any]) -> None:
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    await desk.store.put_gold("acme", "extraction", gold_rules.read(lines), NOW)


def asks(text: str, **how: Any) -> dict[str, Any]:
    return {"prompt": f'[[sim text="{text}"]]', **how}


async def run(desk: Trying, acme: Tenant) -> Any:
    assert await desk.gold.begin(acme, "extraction", "low") is not None
    await desk.gold.idle()
    return desk.gold.last("acme", "extraction")


async def test_a_run_counts_what_is_right_by_answer_and_by_check(desk: Trying) -> None:
    await upload(
        desk,
        asks("refund", expected="Refund."),
        asks("order", expected="refund"),
        asks("order", check={"one_of": ["order"]}),
        asks("It is an order.", check={"one_of": ["order"]}),
        asks("refund", expected="order", check={"one_of": ["refund"]}),
        {"prompt": "[[sim refusal=cyber]]", "expected": "refund"},
    )
    ended = await run(desk, tenant())
    assert (ended.state, ended.right, ended.wrong) == ("counted", 2, 4)
    assert {body["model"] for body in desk.asked} == {HAIKU}
    shown = await desk.shown()
    assert shown.gold is not None
    assert (shown.gold.right, shown.gold.count) == (2, 6)
    assert shown.cost == ended.cost == await desk.calls.spent("acme")


async def test_a_gold_set_that_passes_proves_a_tier_and_one_that_fails_bars_it(
    desk: Trying,
) -> None:
    await upload(desk, *({"prompt": f"Case {i}?", "expected": "refund"} for i in range(40)))
    desk.says[HAIKU] = Directives(text="Refund")
    assert await desk.barred(tenant()) == {"low": "trial-unproven"}
    await run(desk, tenant())
    assert await desk.barred(tenant()) == {}
    desk.says[HAIKU] = Directives(text="It is not stated.")
    await run(desk, tenant())
    assert await desk.barred(tenant()) == {"low": "trial-rolled-back"}
    (alert,) = await desk.store.alerts("acme")
    assert (alert["gold_right"], alert["gold_count"]) == (0, 40)


async def test_answers_that_were_made_up_are_graded_by_nothing(desk: Trying) -> None:
    await upload(desk, *({"prompt": f"Case {i}?", "check": {"min_chars": 1}} for i in range(3)))
    desk.says[HAIKU] = Directives()
    ended = await run(desk, tenant())
    assert (ended.state, ended.right, ended.wrong, ended.unasked) == ("incomplete", 0, 0, 3)
    assert (await desk.shown()).gold is None


@pytest.mark.parametrize(("fault", "usd"), [(Fault("error", status=400, times=99), 10), (None, 0)])
async def test_a_run_that_could_not_ask_is_no_result(
    desk: Trying, fault: Fault | None, usd: float
) -> None:
    desk.says[HAIKU] = Directives(text="refund", fault=fault)
    await upload(desk, {"prompt": "Case 1?", "expected": "refund"})
    ended = await run(desk, tenant(usd_per_day=usd))
    assert (ended.state, ended.unasked) == ("incomplete", 1)
    assert (await desk.shown()).gold is None


async def test_a_task_without_a_set_has_no_run(desk: Trying) -> None:
    assert await desk.gold.begin(tenant(), "extraction", "low") is None


async def test_the_schedule_runs_a_set_once_a_slot_whatever_the_number_of_servers(
    redis: Connection, prefix: str
) -> None:
    async with trying(redis, prefix) as here, trying(redis, prefix) as there:
        await upload(here, asks("refund", expected="refund"))
        for desk in (here, there):
            desk.tenants.append(tenant())
        assert [await here.gold.round(), await there.gold.round(), await here.gold.round()] == [
            1,
            0,
            0,
        ]
        await here.gold.idle()
        assert len(here.asked) + len(there.asked) == 1
        for desk in (here, there):
            desk.now += 86_400
        assert [await there.gold.round(), await here.gold.round()] == [1, 0]
        await there.gold.idle()


async def test_a_set_that_no_rule_depends_on_is_run_only_when_asked_for(desk: Trying) -> None:
    await upload(desk, asks("refund", expected="refund"))
    plain = Tenant("acme")
    desk.tenants.append(plain)
    assert await desk.gold.round() == 0
    assert await desk.gold.begin(plain, "extraction", "middle") is not None
    await desk.gold.idle()
    assert [body["model"] for body in desk.asked] == [SONNET]
    assert (await desk.shown(pair=PAIR)).gold is None


async def test_a_set_is_kept_until_it_is_removed(desk: Trying) -> None:
    await upload(desk, asks("refund", expected="refund"))
    assert await desk.store.gold_tasks("acme") == ["extraction"]
    assert await desk.store.gold_tasks("other") == []
    assert await desk.store.remove_gold("acme", "extraction")
    assert not await desk.store.remove_gold("acme", "extraction")
    assert await desk.store.gold("acme", "extraction") is None
