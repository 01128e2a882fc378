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
from tests.routing.trials.harness import (
    HAIKU,
    NOW,
    PAIR,
    SONNET,
    TrialHarness,
    tenant,
    trial_harness,
)

__all__ = ["prefix", "redis", "url"]  # fixtures


@pytest.fixture
async def harness(redis: Connection, prefix: str) -> AsyncIterator[TrialHarness]:
    async with trial_harness(redis, prefix) as made:
        yield made


async def upload(harness: TrialHarness, *rows: dict[str, Any]) -> None:
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    await harness.store.put_gold("acme", "extraction", gold_rules.read(lines), NOW)


def asks(text: str, **how: Any) -> dict[str, Any]:
    return {"prompt": f'[[sim text="{text}"]]', **how}


async def run(harness: TrialHarness, acme: Tenant) -> Any:
    assert await harness.gold.begin(acme, "extraction", "low") is not None
    await harness.gold.idle()
    return harness.gold.last("acme", "extraction")


async def test_a_run_counts_what_is_right_by_answer_and_by_check(harness: TrialHarness) -> None:
    await upload(
        harness,
        asks("refund", expected="Refund."),
        asks("order", expected="refund"),
        asks("order", check={"one_of": ["order"]}),
        asks("It is an order.", check={"one_of": ["order"]}),
        asks("refund", expected="order", check={"one_of": ["refund"]}),
        {"prompt": "[[sim refusal=cyber]]", "expected": "refund"},
    )
    ended = await run(harness, tenant())
    assert (ended.state, ended.right, ended.wrong) == ("counted", 2, 4)
    assert {body["model"] for body in harness.asked} == {HAIKU}
    shown = await harness.shown()
    assert shown.gold is not None
    assert (shown.gold.right, shown.gold.count) == (2, 6)
    assert shown.cost == ended.cost == await harness.calls.spent("acme")


async def test_a_gold_set_that_passes_proves_a_tier_and_one_that_fails_bars_it(
    harness: TrialHarness,
) -> None:
    await upload(harness, *({"prompt": f"Case {i}?", "expected": "refund"} for i in range(40)))
    harness.says[HAIKU] = Directives(text="Refund")
    assert await harness.barred(tenant()) == {"low": "trial-unproven"}
    await run(harness, tenant())
    assert await harness.barred(tenant()) == {}
    harness.says[HAIKU] = Directives(text="It is not stated.")
    await run(harness, tenant())
    assert await harness.barred(tenant()) == {"low": "trial-rolled-back"}
    (alert,) = await harness.store.alerts("acme")
    assert (alert["gold_right"], alert["gold_count"]) == (0, 40)


async def test_answers_that_were_made_up_are_graded_by_nothing(harness: TrialHarness) -> None:
    await upload(harness, *({"prompt": f"Case {i}?", "check": {"min_chars": 1}} for i in range(3)))
    harness.says[HAIKU] = Directives()
    ended = await run(harness, tenant())
    assert (ended.state, ended.right, ended.wrong, ended.unasked) == ("incomplete", 0, 0, 3)
    assert (await harness.shown()).gold is None


@pytest.mark.parametrize(("fault", "usd"), [(Fault("error", status=400, times=99), 10), (None, 0)])
async def test_a_run_that_could_not_ask_is_no_result(
    harness: TrialHarness, fault: Fault | None, usd: float
) -> None:
    harness.says[HAIKU] = Directives(text="refund", fault=fault)
    await upload(harness, {"prompt": "Case 1?", "expected": "refund"})
    ended = await run(harness, tenant(usd_per_day=usd))
    assert (ended.state, ended.unasked) == ("incomplete", 1)
    assert (await harness.shown()).gold is None


async def test_a_task_without_a_set_has_no_run(harness: TrialHarness) -> None:
    assert await harness.gold.begin(tenant(), "extraction", "low") is None


async def test_the_schedule_runs_a_set_once_a_slot_whatever_the_number_of_servers(
    redis: Connection, prefix: str
) -> None:
    async with trial_harness(redis, prefix) as here, trial_harness(redis, prefix) as there:
        await upload(here, asks("refund", expected="refund"))
        for harness in (here, there):
            harness.tenants.append(tenant())
        assert await here.gold.round() == 1
        await here.gold.idle()
        assert [await there.gold.round(), await here.gold.round()] == [0, 0]
        assert len(here.asked) + len(there.asked) == 1
        for harness in (here, there):
            harness.now += 86_400
        assert await there.gold.round() == 1
        await there.gold.idle()
        assert await here.gold.round() == 0


async def test_a_run_whose_server_ended_is_run_once_more_by_another(
    redis: Connection, prefix: str
) -> None:
    async with (
        trial_harness(redis, prefix) as first,
        trial_harness(redis, prefix) as second,
        trial_harness(redis, prefix) as third,
    ):
        await upload(first, asks("refund", expected="refund"))
        for harness in (first, second, third):
            harness.tenants.append(tenant())
        assert await first.gold.round() == 1
        await first.gold.close()
        assert await second.gold.round() == 1
        await second.gold.close()
        assert await third.gold.round() == 0  # it may be the set that ends them


async def test_a_set_that_no_rule_depends_on_is_run_only_when_asked_for(
    harness: TrialHarness,
) -> None:
    await upload(harness, asks("refund", expected="refund"))
    plain = Tenant("acme")
    harness.tenants.append(plain)
    assert await harness.gold.round() == 0
    assert await harness.gold.begin(plain, "extraction", "middle") is not None
    await harness.gold.idle()
    assert [body["model"] for body in harness.asked] == [SONNET]
    assert (await harness.shown(pair=PAIR)).gold is None


async def test_a_set_is_kept_until_it_is_removed(harness: TrialHarness) -> None:
    await upload(harness, asks("refund", expected="refund"))
    assert await harness.store.gold_tasks("acme") == ["extraction"]
    assert await harness.store.gold_tasks("other") == []
    assert await harness.store.remove_gold("acme", "extraction")
    assert not await harness.store.remove_gold("acme", "extraction")
    assert await harness.store.gold("acme", "extraction") is None
