"""Trials of live requests: what is asked, what is counted, and when a tier may be used."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cacheserver.core.rules.routing import TaskRule
from cacheserver.core.types import Controls
from cacheserver.routing.trials.rules import GoldScore, Pair
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from cacheserver.storage.connection import Connection, connect
from tests.redis_servers import prefix, redis, url
from tests.routing.trials.trialdesk import (
    HAIKU,
    NOW,
    OPUS,
    PAIR,
    RULES,
    SONNET,
    Trying,
    answered,
    tenant,
    trying,
)

__all__ = ["prefix", "redis", "url"]  # fixtures


@pytest.fixture
async def desk(redis: Connection, prefix: str) -> AsyncIterator[Trying]:
    async with trying(redis, prefix) as made:
        yield made


async def test_a_dear_answer_is_asked_of_the_cheap_model_too_and_agreement_is_counted(
    desk: Trying,
) -> None:
    desk.says[HAIKU] = Directives(text="It ends on 5 May.")
    await desk.answer(said="It ends on May 5.")
    desk.says[HAIKU] = Directives(text="It ends on 9 June.")
    await desk.answer(said="It ends on May 5.")
    assert [body["model"] for body in desk.asked] == [HAIKU, HAIKU]
    shown = await desk.shown()
    assert (shown.window, shown.undecided, shown.calls) == ("10", 0, 2)
    assert shown.cost == await desk.calls.spent("acme") > 0
    assert [(row.reason, row.tenant) for row in desk.rows] == [("trial", "acme")] * 2
    assert sum(row.spent["trial"] for row in desk.rows) == shown.cost


async def test_a_cheap_answer_is_asked_of_the_dear_model_for_the_same_count(desk: Trying) -> None:
    desk.says[SONNET] = Directives(text="on 5 may")
    await desk.answer(tier="low")
    desk.says[SONNET] = Directives(text="It is not stated.")
    await desk.answer(tier="low")
    assert [body["model"] for body in desk.asked] == [SONNET, SONNET]
    assert (await desk.shown()).window == "10"


async def test_the_question_is_sent_as_it_shaped_the_answer_and_no_more(desk: Trying) -> None:
    await desk.answer(stream=True, metadata={"user_id": "u"}, system="Answer briefly.")
    (body,) = desk.asked
    assert not {"stream", "metadata"} & body.keys()
    assert body["system"] == [{"type": "text", "text": "Answer briefly."}]
    assert body["max_tokens"] == 100


async def test_a_cheap_model_that_refuses_disagrees_and_a_dear_one_says_nothing(
    desk: Trying,
) -> None:
    desk.says[HAIKU] = desk.says[SONNET] = Directives(refusal="cyber")
    await desk.answer()
    await desk.answer(tier="low")
    shown = await desk.shown()
    assert (shown.window, shown.undecided) == ("0", 1)


async def test_what_the_simulated_claude_made_up_is_compared_with_nothing(desk: Trying) -> None:
    for made_up in (Directives(), Directives(words=30)):
        desk.says[HAIKU] = made_up
        await desk.answer()
    shown = await desk.shown()
    assert (len(desk.asked), shown.window, shown.undecided) == (2, "", 0)
    asked, call, message = answered()
    desk.trials.learn(asked, call, {**message, "id": "msg_simecho0"})
    await desk.trials.drain()
    assert len(desk.asked) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"tenant": tenant(share=0)},
        {"credential": "sk-ant-theirs"},
        {"controls": Controls(task="extraction", store=False)},
        {"controls": Controls(task="extraction", off=("routing",))},
        {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
        {"stop": "max_tokens"},
        {"reason": "sticky"},
        {"task": "made-up"},
    ],
)
async def test_what_may_not_be_asked_again_is_not(desk: Trying, given: dict[str, object]) -> None:
    await desk.answer(**given)  # type: ignore[arg-type]
    assert desk.asked == []


async def test_only_a_share_of_requests_is_tried(redis: Connection, prefix: str) -> None:
    draws = iter([0.5, 0.49, 0.51])
    async with trying(redis, prefix, chance=lambda: next(draws)) as desk:
        for _ in range(3):
            await desk.answer(tenant=tenant(share=0.5))
        assert len(desk.asked) == 1


async def test_the_days_cap_is_never_passed_and_the_next_day_has_its_own(desk: Trying) -> None:
    desk.says[HAIKU] = Directives(text="On 5 May.")
    poor = tenant(usd_per_day=0.000_1)  # 100,000 nanodollars
    for _ in range(30):
        await desk.answer(tenant=poor)
    made = len(desk.asked)
    assert 0 < made < 30
    assert await desk.calls.spent("acme") <= 100_000
    assert desk.counted('swallowed_total{site="trial-cap"}')
    desk.now += 86_400
    await desk.answer(tenant=poor)
    assert len(desk.asked) == made + 1


async def test_a_trial_that_fails_costs_nothing_and_counts_for_nothing(desk: Trying) -> None:
    desk.says[HAIKU] = Directives(fault=Fault("error", status=400))
    await desk.answer()
    assert (await desk.shown()).calls == 0
    assert await desk.calls.spent("acme") == 0
    assert desk.counted('swallowed_total{site="trial"} 1.0')


async def test_a_request_the_other_model_would_refuse_is_not_tried(desk: Trying) -> None:
    await desk.answer(tier="low", thinking={"type": "disabled"})
    assert desk.asked == []


async def test_a_tier_is_barred_until_it_is_proven_and_again_when_agreement_falls(
    desk: Trying, caplog: pytest.LogCaptureFixture
) -> None:
    acme = tenant()
    assert await desk.barred(acme) == {"low": "trial-unproven"}
    assert await desk.barred(acme, "code") == {}
    desk.says[HAIKU] = Directives(text="On 5 May.")
    for _ in range(35):
        await desk.answer()
    assert await desk.barred(acme) == {}
    desk.says[SONNET] = Directives(text="On 9 June.")
    with caplog.at_level(logging.WARNING):
        for _ in range(4):  # 35 of 39 are under 90%
            assert await desk.barred(acme) == {}
            await desk.answer(tier="low")
    assert await desk.barred(acme) == {"low": "trial-rolled-back"}
    (alert,) = await desk.store.alerts("acme")
    assert (alert["task"], alert["to_model"], alert["agreed"]) == ("extraction", HAIKU, 35)
    assert "a trial rolled back: tenant acme, task extraction" in caplog.text
    assert "June" not in caplog.text
    del desk.says[SONNET]
    for _ in range(34):
        await desk.answer()
    assert await desk.barred(acme) == {"low": "trial-rolled-back"}
    await desk.answer()
    assert await desk.barred(acme) == {}
    assert len(await desk.store.alerts("acme")) == 1


async def test_a_threshold_that_is_raised_asks_for_more(desk: Trying) -> None:
    desk.says[HAIKU] = Directives(text="On 5 May.")
    for _ in range(40):
        await desk.answer()
    assert await desk.barred(tenant()) == {}
    strict = replace(RULES, tasks={"extraction": TaskRule("low", 0.95)})
    desk.now += 16
    assert await desk.barred(tenant(rules=strict)) == {"low": "trial-unproven"}
    desk.now += 16
    assert await desk.barred(tenant(rules=strict)) == {"low": "trial-unproven"}


async def test_tenants_tasks_and_models_are_counted_apart(desk: Trying) -> None:
    desk.says[HAIKU] = desk.says[SONNET] = Directives(text="On 5 May.")
    await desk.answer(tenant=tenant("other"))
    await desk.answer(task="code")
    await desk.answer(tier="high")
    assert (await desk.shown()).calls == 0
    pairs = await desk.store.pairs("acme")
    assert set(pairs) == {Pair("code", SONNET, HAIKU), Pair("extraction", OPUS, SONNET)}
    assert await desk.store.pairs("other") == [PAIR]


async def test_another_server_sees_a_roll_back_within_seconds_and_one_of_them_tells(
    redis: Connection, prefix: str
) -> None:
    async with trying(redis, prefix) as here, trying(redis, prefix) as there:
        for _ in range(40):
            await here.store.add("acme", PAIR, True, cost=0, window=400, now=NOW)
        assert await here.barred(tenant()) == await there.barred(tenant()) == {}
        await here.store.score("acme", PAIR, GoldScore(1, 10, NOW), cost=0)
        await asyncio.gather(here.trials.judge(tenant(), PAIR), there.trials.judge(tenant(), PAIR))
        for desk in (here, there):
            desk.now += 16
            assert await desk.barred(tenant()) == {"low": "trial-rolled-back"}
        assert len(await here.store.alerts("acme")) == 1


async def test_of_two_servers_that_saw_the_same_drop_the_second_changes_nothing(
    desk: Trying,
) -> None:
    await desk.store.add("acme", PAIR, True, cost=0, window=400, now=NOW)
    assert await desk.store.change("acme", PAIR, "unproven", "proven", least=0.9, now=NOW)
    for first in (True, False):
        changed = await desk.store.change(
            "acme", PAIR, "proven", "rolled-back", least=0.9, now=NOW, alert={"at": NOW}
        )
        assert changed is first
    assert len(await desk.store.alerts("acme")) == 1


async def test_a_store_that_is_away_bars_what_is_not_known_and_keeps_what_is(
    redis: Connection, prefix: str
) -> None:
    away = connect("redis://127.0.0.1:1", timeout_s=0.2)
    async with trying(redis, prefix, store=away) as desk:
        assert await desk.barred(tenant()) == {"low": "trial-unproven"}
        assert desk.counted('swallowed_total{site="trials"}')
        await desk.answer()
        assert len(desk.asked) == 1
    await away.aclose()


async def test_what_nobody_tried_for_a_month_is_unproven_again(
    desk: Trying, redis: Connection, prefix: str
) -> None:
    await desk.store.add("acme", PAIR, True, cost=0, window=400, now=NOW)
    keys = [key async for key in redis.scan_iter(f"{prefix}trial*")]
    assert len(keys) == 2
    for key in keys:
        assert 29 * 86_400 < await redis.ttl(key) <= 30 * 86_400


async def test_trials_hold_no_word_of_a_request(
    desk: Trying, redis: Connection, prefix: str
) -> None:
    desk.says[HAIKU] = Directives(text="zebra")
    await desk.answer("giraffe", said="okapi")
    async for key in redis.scan_iter(f"{prefix}trial*"):
        kept = await redis.dump(key)
        assert not any(word in (kept or b"") for word in (b"zebra", b"giraffe", b"okapi"))


async def test_offering_a_trial_costs_the_answer_nothing_to_speak_of(desk: Trying) -> None:
    query, asked, message = answered(tenant=tenant(share=0.0))
    begun = time.thread_time()
    for _ in range(1_000):
        desk.trials.learn(query, asked, message)
        desk.trials.barred(query.tenant, "extraction")
    assert (time.thread_time() - begun) / 1_000 < 0.000_2
