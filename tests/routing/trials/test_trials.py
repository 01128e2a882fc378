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
from tests.routing.trials.harness import (
    HAIKU,
    NOW,
    OPUS,
    PAIR,
    RULES,
    SONNET,
    TrialHarness,
    answered_request,
    tenant,
    trial_harness,
)

__all__ = ["prefix", "redis", "url"]  # fixtures


@pytest.fixture
async def harness(redis: Connection, prefix: str) -> AsyncIterator[TrialHarness]:
    async with trial_harness(redis, prefix) as made:
        yield made


async def test_a_dear_answer_is_asked_of_the_cheap_model_too_and_agreement_is_counted(
    harness: TrialHarness,
) -> None:
    harness.says[HAIKU] = Directives(text="It ends on 5 May.")
    await harness.answer(said="It ends on May 5.")
    harness.says[HAIKU] = Directives(text="It ends on 9 June.")
    await harness.answer(said="It ends on May 5.")
    assert [body["model"] for body in harness.asked] == [HAIKU, HAIKU]
    shown = await harness.shown()
    assert (shown.window, shown.undecided, shown.calls) == ("10", 0, 2)
    assert shown.cost == await harness.calls.spent("acme") > 0
    assert [(row.reason, row.tenant) for row in harness.rows] == [("trial", "acme")] * 2
    assert sum(row.spent["trial"] for row in harness.rows) == shown.cost


async def test_a_cheap_answer_is_asked_of_the_dear_model_for_the_same_count(
    harness: TrialHarness,
) -> None:
    harness.says[SONNET] = Directives(text="on 5 may")
    await harness.answer(tier="low")
    harness.says[SONNET] = Directives(text="It is not stated.")
    await harness.answer(tier="low")
    assert [body["model"] for body in harness.asked] == [SONNET, SONNET]
    assert (await harness.shown()).window == "10"


async def test_the_question_is_sent_as_it_shaped_the_answer_and_no_more(
    harness: TrialHarness,
) -> None:
    await harness.answer(stream=True, metadata={"user_id": "u"}, system="Answer briefly.")
    (body,) = harness.asked
    assert not {"stream", "metadata"} & body.keys()
    assert body["system"] == [{"type": "text", "text": "Answer briefly."}]
    assert body["max_tokens"] == 100


async def test_a_cheap_model_that_refuses_disagrees_and_a_dear_one_says_nothing(
    harness: TrialHarness,
) -> None:
    harness.says[HAIKU] = harness.says[SONNET] = Directives(refusal="cyber")
    await harness.answer()
    await harness.answer(tier="low")
    shown = await harness.shown()
    assert (shown.window, shown.undecided) == ("0", 1)


async def test_what_the_simulated_claude_made_up_is_compared_with_nothing(
    harness: TrialHarness,
) -> None:
    for made_up in (Directives(), Directives(words=30)):
        harness.says[HAIKU] = made_up
        await harness.answer()
    shown = await harness.shown()
    assert (len(harness.asked), shown.window, shown.undecided) == (2, "", 0)
    asked, call, message = answered_request()
    harness.trials.learn(asked, call, {**message, "id": "msg_simecho0"})
    await harness.trials.drain()
    assert len(harness.asked) == 2


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
async def test_what_may_not_be_asked_again_is_not(
    harness: TrialHarness, given: dict[str, object]
) -> None:
    await harness.answer(**given)  # type: ignore[arg-type]
    assert harness.asked == []


async def test_only_a_share_of_requests_is_tried(redis: Connection, prefix: str) -> None:
    draws = iter([0.5, 0.49, 0.51])
    async with trial_harness(redis, prefix, chance=lambda: next(draws)) as harness:
        for _ in range(3):
            await harness.answer(tenant=tenant(share=0.5))
        assert len(harness.asked) == 1


async def test_the_days_cap_is_never_passed_and_the_next_day_has_its_own(
    harness: TrialHarness,
) -> None:
    harness.says[HAIKU] = Directives(text="On 5 May.")
    poor = tenant(usd_per_day=0.000_1)  # 100,000 nanodollars
    for _ in range(30):
        await harness.answer(tenant=poor)
    made = len(harness.asked)
    assert 0 < made < 30
    assert await harness.calls.spent("acme") <= 100_000
    assert harness.counted('swallowed_total{site="trial-cap"}')
    harness.now += 86_400
    await harness.answer(tenant=poor)
    assert len(harness.asked) == made + 1


async def test_a_trial_that_fails_costs_nothing_and_counts_for_nothing(
    harness: TrialHarness,
) -> None:
    harness.says[HAIKU] = Directives(fault=Fault("error", status=400))
    await harness.answer()
    assert (await harness.shown()).calls == 0
    assert await harness.calls.spent("acme") == 0
    assert harness.counted('swallowed_total{site="trial"} 1.0')


async def test_a_request_the_other_model_would_refuse_is_not_tried(harness: TrialHarness) -> None:
    await harness.answer(tier="low", thinking={"type": "disabled"})
    assert harness.asked == []


async def test_a_tier_is_barred_until_it_is_proven_and_again_when_agreement_falls(
    harness: TrialHarness, caplog: pytest.LogCaptureFixture
) -> None:
    acme = tenant()
    assert await harness.barred(acme) == {"low": "trial-unproven"}
    assert await harness.barred(acme, "code") == {}
    harness.says[HAIKU] = Directives(text="On 5 May.")
    for _ in range(35):
        await harness.answer()
    assert await harness.barred(acme) == {}
    harness.says[SONNET] = Directives(text="On 9 June.")
    with caplog.at_level(logging.WARNING):
        for _ in range(4):  # 35 of 39 are under 90%
            assert await harness.barred(acme) == {}
            await harness.answer(tier="low")
    assert await harness.barred(acme) == {"low": "trial-rolled-back"}
    (alert,) = await harness.store.alerts("acme")
    assert (alert["task"], alert["to_model"], alert["agreed"]) == ("extraction", HAIKU, 35)
    assert "a trial rolled back: tenant acme, task extraction" in caplog.text
    assert "June" not in caplog.text
    del harness.says[SONNET]
    for _ in range(34):
        await harness.answer()
    assert await harness.barred(acme) == {"low": "trial-rolled-back"}
    await harness.answer()
    assert await harness.barred(acme) == {}
    assert len(await harness.store.alerts("acme")) == 1


async def test_a_threshold_that_is_raised_asks_for_more(harness: TrialHarness) -> None:
    harness.says[HAIKU] = Directives(text="On 5 May.")
    for _ in range(40):
        await harness.answer()
    assert await harness.barred(tenant()) == {}
    strict = replace(RULES, tasks={"extraction": TaskRule("low", 0.95)})
    harness.now += 16
    assert await harness.barred(tenant(rules=strict)) == {"low": "trial-unproven"}
    harness.now += 16
    assert await harness.barred(tenant(rules=strict)) == {"low": "trial-unproven"}


async def test_tenants_tasks_and_models_are_counted_apart(harness: TrialHarness) -> None:
    harness.says[HAIKU] = harness.says[SONNET] = Directives(text="On 5 May.")
    await harness.answer(tenant=tenant("other"))
    await harness.answer(task="code")
    await harness.answer(tier="high")
    assert (await harness.shown()).calls == 0
    pairs = await harness.store.pairs("acme")
    assert set(pairs) == {Pair("code", SONNET, HAIKU), Pair("extraction", OPUS, SONNET)}
    assert await harness.store.pairs("other") == [PAIR]


async def test_another_server_sees_a_roll_back_within_seconds_and_one_of_them_tells(
    redis: Connection, prefix: str
) -> None:
    async with trial_harness(redis, prefix) as here, trial_harness(redis, prefix) as there:
        for _ in range(40):
            await here.store.add("acme", PAIR, True, cost=0, window=400, now=NOW)
        assert await here.barred(tenant()) == await there.barred(tenant()) == {}
        await here.store.score("acme", PAIR, GoldScore(1, 10, NOW), cost=0)
        await asyncio.gather(here.trials.judge(tenant(), PAIR), there.trials.judge(tenant(), PAIR))
        for harness in (here, there):
            harness.now += 16
            assert await harness.barred(tenant()) == {"low": "trial-rolled-back"}
        assert len(await here.store.alerts("acme")) == 1


async def test_of_two_servers_that_saw_the_same_drop_the_second_changes_nothing(
    harness: TrialHarness,
) -> None:
    await harness.store.add("acme", PAIR, True, cost=0, window=400, now=NOW)
    assert await harness.store.change("acme", PAIR, "unproven", "proven", least=0.9, now=NOW)
    for first in (True, False):
        changed = await harness.store.change(
            "acme", PAIR, "proven", "rolled-back", least=0.9, now=NOW, alert={"at": NOW}
        )
        assert changed is first
    assert len(await harness.store.alerts("acme")) == 1


async def test_a_store_that_is_away_bars_what_is_not_known_and_keeps_what_is(
    redis: Connection, prefix: str
) -> None:
    away = connect("redis://127.0.0.1:1", timeout_s=0.2)
    async with trial_harness(redis, prefix, store=away) as harness:
        assert await harness.barred(tenant()) == {"low": "trial-unproven"}
        assert harness.counted('swallowed_total{site="trials"}')
        await harness.answer()
        assert len(harness.asked) == 1
    await away.aclose()


async def test_what_nobody_tried_for_a_month_is_unproven_again(
    harness: TrialHarness, redis: Connection, prefix: str
) -> None:
    await harness.store.add("acme", PAIR, True, cost=0, window=400, now=NOW)
    keys = [key async for key in redis.scan_iter(f"{prefix}trial*")]
    assert len(keys) == 2
    for key in keys:
        assert 29 * 86_400 < await redis.ttl(key) <= 30 * 86_400


async def test_trials_hold_no_word_of_a_request(
    harness: TrialHarness, redis: Connection, prefix: str
) -> None:
    harness.says[HAIKU] = Directives(text="zebra")
    await harness.answer("giraffe", said="okapi")
    async for key in redis.scan_iter(f"{prefix}trial*"):
        kept = await redis.dump(key)
        assert not any(word in (kept or b"") for word in (b"zebra", b"giraffe", b"okapi"))


async def test_offering_a_trial_costs_the_answer_nothing_to_speak_of(harness: TrialHarness) -> None:
    query, asked, message = answered_request(tenant=tenant(share=0.0))
    begun = time.thread_time()
    for _ in range(1_000):
        harness.trials.learn(query, asked, message)
        harness.trials.barred(query.tenant, "extraction")
    assert (time.thread_time() - begun) / 1_000 < 0.000_2
