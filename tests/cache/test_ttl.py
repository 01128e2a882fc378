"""How long an answer may be served."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.ttl import explained, lifetime
from cacheserver.core.types import Controls, Tenant, TtlRule

HAIKU = "claude-haiku-5-5"
NEWS = TtlRule(namespace="news", default_ttl_s=60, max_ttl_s=600)
SUMMARIES = TtlRule(task="summary", default_ttl_s=7_200)
NEWS_SUMMARIES = TtlRule(namespace="news", task="summary", default_ttl_s=300)
PRICES = TtlRule(tag="prices", default_ttl_s=30, max_ttl_s=120)
TENANT = Tenant(
    name="acme",
    default_ttl_s=3_600,
    max_ttl_s=86_400,
    ttl_rules=(NEWS, SUMMARIES, NEWS_SUMMARIES, PRICES),
)


@pytest.mark.parametrize(
    ("controls", "seconds"),
    [
        (Controls(), 3_600),
        (Controls(ttl_s=10), 10),
        (Controls(ttl_s=0), 0),
        (Controls(ttl_s=86_400), 86_400),
        (Controls(ttl_s=86_401), 86_400),
        (Controls(namespace="news"), 60),
        (Controls(namespace="news", ttl_s=3_600), 600),
        (Controls(task="summary"), 7_200),
        (Controls(namespace="news", task="summary"), 300),
        (Controls(namespace="news", task="summary", ttl_s=9_999), 600),
        (Controls(tags=("other", "prices")), 30),
        (Controls(task="summary", tags=("prices",)), 30),
        (Controls(task="summary", tags=("prices",), ttl_s=500), 120),
        (Controls(store=False), 0),
        (Controls(store=False, ttl_s=60), 0),
    ],
)
def test_the_most_specific_default_and_every_maximum_hold(controls: Controls, seconds: int) -> None:
    assert lifetime(controls, TENANT, HAIKU) == seconds


def test_a_more_specific_default_beats_a_shorter_general_one() -> None:
    tenant = replace(TENANT, ttl_rules=(TtlRule(task="t", default_ttl_s=5), NEWS_SUMMARIES))
    assert lifetime(Controls(namespace="news", task="summary"), tenant, HAIKU) == 300
    both = replace(tenant, ttl_rules=(*tenant.ttl_rules, TtlRule(task="summary", default_ttl_s=5)))
    assert lifetime(Controls(namespace="news", task="summary"), both, HAIKU) == 300


def test_a_rule_whose_default_is_zero_keeps_nothing_unless_asked() -> None:
    tenant = replace(TENANT, ttl_rules=(TtlRule(task="live", default_ttl_s=0),))
    assert lifetime(Controls(task="live"), tenant, HAIKU) == 0
    assert lifetime(Controls(task="live", ttl_s=5), tenant, HAIKU) == 5


def test_a_default_above_a_maximum_is_cut_to_it() -> None:
    tenant = replace(TENANT, ttl_rules=(TtlRule(task="t", default_ttl_s=900, max_ttl_s=100),))
    assert lifetime(Controls(task="t"), tenant, HAIKU) == 100


names = st.sampled_from(["a", "b"])
seconds = st.integers(0, 100)
matched = st.fixed_dictionaries({}, optional={"namespace": names, "task": names, "tag": names})
lifetimes = st.fixed_dictionaries({}, optional={"default_ttl_s": seconds, "max_ttl_s": seconds})
rules = st.builds(
    lambda where, lives: TtlRule(**where, **lives), matched.filter(bool), lifetimes.filter(bool)
)
tenants = st.builds(
    Tenant,
    name=st.just("acme"),
    default_ttl_s=seconds,
    max_ttl_s=seconds,
    ttl_rules=st.lists(rules, max_size=5).map(tuple),
)
asked = st.builds(
    Controls,
    store=st.booleans(),
    ttl_s=st.none() | st.integers(0, 200),
    namespace=names,
    task=st.none() | names,
    tags=st.lists(names, unique=True).map(tuple),
)


@given(asked, tenants)
def test_no_answer_outlives_what_was_asked_or_any_maximum_that_matches(
    controls: Controls, tenant: Tenant
) -> None:
    found = lifetime(controls, tenant, HAIKU)
    bounds = [tenant.max_ttl_s]
    if controls.ttl_s is not None:
        bounds.append(controls.ttl_s)
    for rule in tenant.ttl_rules:
        applies = (
            rule.namespace in (None, controls.namespace)
            and rule.task in (None, controls.task)
            and rule.tag in (None, *controls.tags)
        )
        if applies and rule.max_ttl_s is not None:
            bounds.append(rule.max_ttl_s)
    assert 0 <= found <= min(bounds)
    if controls.store and controls.ttl_s is not None:
        assert found == min(bounds)


@given(asked, tenants, st.randoms())
def test_the_order_of_rules_never_matters(
    controls: Controls, tenant: Tenant, random: Random
) -> None:
    shuffled = list(tenant.ttl_rules)
    random.shuffle(shuffled)
    other = replace(tenant, ttl_rules=tuple(shuffled))
    assert lifetime(controls, other, HAIKU) == lifetime(controls, tenant, HAIKU)


@given(asked, tenants, seconds)
def test_asking_for_less_never_gives_more(controls: Controls, tenant: Tenant, less: int) -> None:
    more = lifetime(replace(controls, ttl_s=less + 1), tenant, HAIKU)
    assert lifetime(replace(controls, ttl_s=less), tenant, HAIKU) <= more


def test_a_rule_may_name_the_model_that_was_asked_for() -> None:
    rule = TtlRule(model=HAIKU, default_ttl_s=5)
    tenant = replace(TENANT, ttl_rules=(rule, NEWS))
    assert lifetime(Controls(), tenant, HAIKU) == 5
    assert lifetime(Controls(), tenant, "auto") == 3_600
    assert lifetime(Controls(namespace="news"), tenant, HAIKU) == 5  # as specific, and shorter


def test_the_rules_that_decide_are_named() -> None:
    found = explained(Controls(namespace="news", tags=("prices",), ttl_s=999), TENANT, HAIKU)
    assert (found.ttl_s, found.maximum_rule, found.default_rule) == (120, 3, 3)
    plain = explained(Controls(), TENANT, HAIKU)
    assert (plain.ttl_s, plain.maximum_rule, plain.default_rule) == (3_600, None, None)
