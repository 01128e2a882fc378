"""Tiers and tasks, and rules that name what there is not."""

from __future__ import annotations

import pytest

from cacheserver.core import tiers
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.routing import Haiku, Override, RoutingRules, TaskRule, Tiers
from cacheserver.core.tasks import TASKS
from cacheserver.core.types import Tenant
from cacheserver.tenants import tenant_json

PLAIN = RoutingRules()
KNOWN = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")


def test_every_task_has_a_tier_and_none_has_the_dearest() -> None:
    assert set(tiers.BY_TASK) == set(TASKS)
    assert "high" not in tiers.BY_TASK.values()


def test_the_operators_word_for_a_task_goes_before_ours() -> None:
    rules = RoutingRules(tasks={"analysis": TaskRule("low"), "triage": TaskRule("high")})
    assert tiers.task_tier("analysis", rules) == "low"
    assert tiers.task_tier("triage", rules) == "high"
    assert tiers.task_tier("summarization", rules) == "middle"
    assert tiers.task_tier("nonsense", rules) is None


def test_a_new_model_behind_a_tier_is_a_setting() -> None:
    rules = RoutingRules(tiers=Tiers(low="claude-tern-7"))
    assert [tiers.model_of(tier, rules) for tier in tiers.ORDER] == ["claude-tern-7", *KNOWN[1:]]
    assert tiers.tier_of("claude-tern-7", rules) == "low"
    assert tiers.tier_of("claude-haiku-5-5", rules) is None
    assert tiers.above("low") == "middle"
    assert tiers.above("high") == "high"


@pytest.mark.parametrize(
    ("rules", "field", "named"),
    [
        (RoutingRules(tiers=Tiers(low="claude-tern-7")), "routing.tiers.low", "claude-haiku-5-5"),
        (
            RoutingRules(overrides=(Override("claude-opus-5", to_model="tern"),)),
            "routing.overrides.0.to_model",
            "claude-opus-5-5",
        ),
        (RoutingRules(haiku=Haiku(model="tern")), "routing.haiku.model", "claude-sonnet-5-5"),
        (
            RoutingRules(overrides=(Override("m", to_tier="low", task="triage"),)),
            "routing.overrides.0.task",
            "classification",
        ),
        (
            RoutingRules(overrides=(Override("m"),)),
            "routing.overrides.0.to_model",
            "to_tier",
        ),
        (
            RoutingRules(overrides=(Override("m", to_model=KNOWN[0], to_tier="low"),)),
            "routing.overrides.0.to_model",
            "one of them",
        ),
    ],
)
def test_rules_that_name_what_nobody_knows_are_told_what_is_known(
    rules: RoutingRules, field: str, named: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        tiers.check(rules, KNOWN)
    assert refused.value.field == field
    assert named in refused.value.message


def test_a_model_may_be_vouched_for_and_tasks_added() -> None:
    tiers.check(PLAIN, KNOWN)
    tiers.check(RoutingRules(tiers=Tiers(low="tern"), more_models=("tern",)), KNOWN)
    rules = RoutingRules(
        tasks={"triage": TaskRule("low")},
        overrides=(Override("m", to_tier="low", task="triage"),),
    )
    tiers.check(rules)
    tiers.check(RoutingRules(tiers=Tiers(low="anything")))  # without a list, no model is judged


def test_a_task_nobody_knows_is_a_label_unless_the_tenant_is_strict() -> None:
    tiers.check_task("nonsense", PLAIN)
    strict = RoutingRules(strict_tasks=True, tasks={"triage": TaskRule("low")})
    tiers.check_task("triage", strict)
    tiers.check_task("code-review", strict)
    tiers.check_task(None, strict)
    with pytest.raises(BadRequest, match="`triage`"):
        tiers.check_task("nonsense", strict)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"tiers": {"cheap": "claude-haiku-5-5"}}, "routing.tiers.cheap"),
        ({"tasks": {"code": {"tier": "cheap"}}}, "routing.tasks.code.tier"),
        ({"default_tier": "cheap"}, "routing.default_tier"),
        ({"levels": {"simple": "cheap"}}, "routing.levels.simple"),
        ({"tasks": {"code": {"tier": "low", "min_agreement": 1.1}}}, "routing.tasks.code"),
        ({"simple_from": -0.1}, "routing.simple_from"),
        ({"tiers": {"low": ""}}, "routing.tiers.low"),
        ({"sticky_s": -1}, "routing.sticky_s"),
        ({"haiku": {"ask": "sometimes"}}, "routing.haiku.ask"),
    ],
)
def test_an_unknown_tier_is_refused_by_name(given: dict[str, object], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        tenant_json.change("acme", {}, {"routing": given}, Tenant("default"))
    assert refused.value.field.startswith(field)
    if "cheap" in str(given.values()):
        assert "tiers" in refused.value.field or "'low', 'middle' or 'high'" in str(refused.value)


def test_a_tenants_routing_survives_being_kept() -> None:
    given = {
        "tiers": {"low": "claude-haiku-4-5"},
        "tasks": {"triage": {"tier": "high", "min_agreement": 0.9}},
        "overrides": [{"model": "claude-opus-5", "to_tier": "middle", "task": "code"}],
        "levels": {"complex": "high"},
    }
    tenant = tenant_json.change("acme", {}, {"routing": given}, Tenant("default")).tenant
    assert tenant.routing.levels.complex == "high"
    record = tenant_json.encode(tenant_json.changes(Tenant("default"), tenant))
    assert tenant_json.decode("acme", record, Tenant("default")).tenant == tenant
