"""Answers of cheap tiers that will not do, and how they are asked for again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cacheserver.claude.upstream import Upstream
from cacheserver.core import json_text
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.routing import RoutingRules, TaskRule, Tiers
from cacheserver.core.rules.validation import Check, ValidationRules
from cacheserver.core.types import Cap, Controls, Mark, Plan, PlannedCall, Query, Tenant
from cacheserver.observability.metrics import Metrics
from cacheserver.pricing.prices import Pricer
from cacheserver.routing.escalation import Escalation
from cacheserver.routing.model_catalogue import ModelCatalogue
from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.routing.trials.harness import HAIKU, NOW, OPUS, SONNET, answered_request

ON = ValidationRules(enabled=True)
SCHEMA = {"type": "object", "required": ["total"]}
FORM = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
WANTED = Controls(task="extraction", check=Check(one_of=("refund", "order")))


@pytest.fixture
async def validation() -> AsyncIterator[Escalation]:
    claude = Simulated(SimulatedSettings())
    async with serve_simulated(claude) as address:
        upstream = Upstream(
            base_url=address,
            api_key="sk-ant-ours",
            name="simulated",
            max_concurrent=2,
            max_waiting=2,
            timeout_s=10.0,
        )
        catalogue = ModelCatalogue(upstream, Metrics())
        await catalogue.model_ids(NOW)
        yield Escalation(catalogue, Pricer())
        await catalogue.close()
        await upstream.close()


def acme(validated: ValidationRules = ON, **rules: Any) -> Tenant:
    return Tenant("acme", routing=RoutingRules(validation=validated, **rules))


def tell(
    validation: Escalation, call: tuple[Query, PlannedCall, dict[str, Any]]
) -> tuple[str | None, PlannedCall | None]:
    query, asked, message = call
    why = validation.verdict(query, asked, message)
    return why, None if why is None else validation.escalate(query, asked, message, why, NOW)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"stop": "refusal"}, "refused"),
        ({"stop": "max_tokens"}, "truncated"),
        ({"said": '{"sum": 3}', **FORM}, "schema"),
        ({"said": "three", **FORM}, "not-json"),
        ({"said": "It is a refund.", "controls": WANTED}, "one-of"),
    ],
)
async def test_a_cheap_answer_that_will_not_do_is_asked_for_one_tier_up(
    validation: Escalation, given: dict[str, Any], why: str
) -> None:
    call = answered_request(tier="low", tenant=acme(), **given)
    found, again = tell(validation, call)
    assert found == why
    assert again is not None
    assert (again.route.model, again.route.tier, again.route.reason) == (
        SONNET,
        "middle",
        "escalated",
    )
    before, after = json_text.loads(call[1].body), json_text.loads(again.body)
    assert after == {**before, "model": SONNET}
    assert again.tried is not None
    assert (again.tried.model, again.tried.why) == (HAIKU, why)
    assert again.tried.cost is not None
    # 20 tokens in at $0.10 and 5 out at $0.50 a million; a refusal before any output is free.
    assert again.tried.cost in (20 * 100 + 5 * 500, 0)
    assert (again.route.baseline, again.plan) == (HAIKU, None)


@pytest.mark.parametrize(
    "given",
    [
        {"said": '{"total": 3}', **FORM},
        {"said": "anything"},
        {"said": "refund", "controls": WANTED},
        {"stop": "refusal", "tenant": acme(ValidationRules())},
        {"stop": "refusal", "tenant": acme(replace(ON, refusals=False))},
        {"stop": "refusal", "controls": Controls(task="extraction", off=("routing",))},
        {"stop": "pause_turn"},
    ],
)
async def test_what_will_do_or_is_not_looked_at_has_no_verdict(
    validation: Escalation, given: dict[str, Any]
) -> None:
    assert tell(validation, answered_request(tier="low", **{"tenant": acme(), **given})) == (
        None,
        None,
    )


async def test_the_operators_check_for_a_task_holds_for_that_task(validation: Escalation) -> None:
    rules = {"extraction": TaskRule("low", check=Check(contains=("eur",)))}
    given: dict[str, Any] = {"tier": "low", "tenant": acme(tasks=rules), "said": "12 USD"}
    assert tell(validation, answered_request(**given))[0] == "contains"
    assert tell(validation, answered_request(task="code", **given)) == (None, None)


@pytest.mark.parametrize(
    "given",
    [
        {"tier": "middle", "tenant": acme()},  # the highest is for who asks for it
        {"tier": "low", "reason": "sticky", "tenant": acme()},
        {"tier": "low", "reason": "escalated", "tenant": acme()},
        {"tier": "low", "tenant": acme(tiers=Tiers(middle=HAIKU))},
        {"tier": "low", "tenant": acme(), "thinking": {"type": "disabled"}},  # Sonnet 5.5 refuses
    ],
)
async def test_where_nobody_better_can_be_asked_the_answer_is_only_told_to_be_bad(
    validation: Escalation, given: dict[str, Any]
) -> None:
    assert tell(validation, answered_request(stop="refusal", **given)) == ("refused", None)


async def test_an_operator_may_have_it_asked_up_to_the_highest(validation: Escalation) -> None:
    far = acme(replace(ON, up_to="high"))
    _, again = tell(validation, answered_request(stop="refusal", tier="middle", tenant=far))
    assert again is not None
    assert again.route.model == OPUS


async def test_a_named_model_with_a_check_is_told_of_and_never_left(validation: Escalation) -> None:
    query, asked, message = answered_request(said="maybe", controls=WANTED, tenant=acme())
    asked = replace(asked, route=replace(asked.route, reason="named", tier=None))
    assert tell(validation, (query, asked, message)) == ("one-of", None)


@pytest.mark.parametrize(("ceiling", "most"), [(None, 200), (150, 150)])
async def test_an_answer_that_our_cap_cut_is_asked_for_with_more_room(
    validation: Escalation, ceiling: int | None, most: int
) -> None:
    given = {"tenant": replace(acme(), lengths=LengthRules(ceiling=ceiling)), "tier": "low"}
    query, asked, message = answered_request(stop="max_tokens", **given)  # type: ignore[arg-type]
    asked = replace(asked, cap=Cap(100, "task", ours=True))
    _, again = tell(validation, (query, asked, message))
    assert again is not None
    assert again.cap == Cap(most, "task", ours=True)
    assert json_text.loads(again.body)["max_tokens"] == most


async def test_marks_planned_for_one_model_do_not_go_to_another_and_the_callers_do(
    validation: Escalation,
) -> None:
    mark = {"type": "ephemeral"}
    system = [{"type": "text", "text": t, "cache_control": mark} for t in ("ours", "theirs")]
    query, asked, message = answered_request(
        stop="refusal", tier="low", tenant=acme(), system=system
    )
    asked = replace(asked, plan=Plan((Mark(("system", 0), "5m"),), "reused"))
    _, again = tell(validation, (query, asked, message))
    assert again is not None
    assert json_text.loads(again.body)["system"] == [{"type": "text", "text": "ours"}, system[1]]


async def test_streams_are_held_back_only_where_an_operator_says_so(validation: Escalation) -> None:
    held = acme(replace(ON, streams=True))
    for tenant, tier, holds in (
        (acme(), "low", False),
        (held, "low", True),
        (held, "middle", False),
        (acme(ValidationRules(streams=True)), "low", False),
    ):
        query, asked, _ = answered_request(tier=tier, tenant=tenant, stream=True)  # type: ignore[arg-type]
        assert validation.holds_back(query, asked) is holds


async def test_an_answer_that_was_replaced_is_in_the_books() -> None:
    booked: list[tuple[str, str, str]] = []

    def spent(kind: str, tenant: str, message: Mapping[str, Any], now: float) -> None:
        booked.append((kind, tenant, message["id"]))

    query, _, message = answered_request(tenant=acme())
    upstream = Upstream(
        base_url="http://127.0.0.1:1",
        api_key="sk-ant-ours",
        name="nobody",
        max_concurrent=1,
        max_waiting=1,
        timeout_s=1.0,
    )
    Escalation(ModelCatalogue(upstream, Metrics()), Pricer(), spent).replaced(query, message, NOW)
    await upstream.close()
    assert booked == [("retry", "acme", "msg_1")]
