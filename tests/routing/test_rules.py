"""The choice of a model: what speaks first, what gives way, and what never happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache import fingerprint
from cacheserver.claude import capabilities
from cacheserver.claude.capabilities import Needs
from cacheserver.core.rules.routing import (
    Haiku,
    Levels,
    Override,
    RoutingRules,
    TaskRule,
    Tier,
    Tiers,
)
from cacheserver.core.tasks import TASKS
from cacheserver.core.types import Controls
from cacheserver.routing import complexity
from cacheserver.routing.complexity import Complexity, Level
from cacheserver.routing.rules import Ask, asks_haiku, choose, needs_classifier
from tests.cache.queries import query

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
UNPROVEN: dict[Tier, str] = {"low": "trial-unproven"}
PLAIN = RoutingRules()
CODE_ONLY = Override("big", to_tier="low", task="code")
EASY, MIDDLING, HARD = (
    Complexity(0.9, 0.08, 0.02),
    Complexity(0.1, 0.8, 0.1),
    Complexity(0.02, 0.08, 0.9),
)
DEAREST = RoutingRules(levels=Levels(complex="high"))
TORN = Complexity(0.45, 0.2, 0.35)
SOMETIMES, ALWAYS = (
    RoutingRules(haiku=Haiku(ask="unsure")),
    RoutingRules(haiku=Haiku(ask="always")),
)


@pytest.mark.parametrize(
    ("ask", "rules", "model", "reason"),
    [
        (Ask("auto"), PLAIN, SONNET, "default"),
        (Ask("auto"), RoutingRules(default_tier="low"), HAIKU, "default"),
        (Ask("auto", deep=True), PLAIN, OPUS, "deep"),
        (Ask("auto", deep=True, sticky=HAIKU, task="extraction"), PLAIN, OPUS, "deep"),
        (Ask("auto", sticky=SONNET, task="extraction", reading=EASY), PLAIN, SONNET, "sticky"),
        (Ask("auto", sticky="claude-tern-7"), PLAIN, "claude-tern-7", "sticky"),
        (Ask("auto", task="extraction", reading=HARD), PLAIN, HAIKU, "task"),
        (Ask("auto", task="Code-Review", reading=EASY), PLAIN, SONNET, "task"),
        (Ask("auto", task="nonsense", reading=EASY), PLAIN, HAIKU, "complexity"),
        (Ask("auto", inferred="analysis", reading=EASY), PLAIN, HAIKU, "complexity"),
        (
            Ask("auto", inferred="analysis", reading=EASY),
            RoutingRules(tasks={"analysis": TaskRule("high")}),
            OPUS,
            "task-inferred",
        ),
        (
            Ask("auto", task="summarization"),
            RoutingRules(tasks={"summarisation": TaskRule("low")}),
            HAIKU,
            "task",
        ),
        (Ask("auto", inferred="extraction"), PLAIN, HAIKU, "task-inferred"),
        (Ask("auto", reading=EASY), PLAIN, HAIKU, "complexity"),
        (Ask("auto", reading=MIDDLING), PLAIN, SONNET, "complexity"),
        (Ask("auto", reading=HARD), PLAIN, SONNET, "complexity"),
        (Ask("auto", reading=HARD), DEAREST, OPUS, "complexity"),
        (Ask("auto", reading=TORN), PLAIN, SONNET, "unsure"),
        (Ask("auto", reading=EASY), RoutingRules(simple_from=0.95), SONNET, "unsure"),
        (Ask("auto", reading=EASY), RoutingRules(simple_complex_most=0.01), SONNET, "unsure"),
        (Ask("auto", reading=TORN, haiku="SIMPLE", haiku_asked=True), SOMETIMES, HAIKU, "haiku"),
        (Ask("auto", reading=TORN, haiku_asked=True), SOMETIMES, SONNET, "unsure"),
        (Ask("auto", reading=EASY, haiku_asked=True), ALWAYS, SONNET, "unsure"),
        (Ask("auto", reading=EASY, barred=UNPROVEN), PLAIN, SONNET, "trial-unproven"),
        (
            Ask(
                "auto",
                reading=EASY,
                barred={"low": "trial-rolled-back", "middle": "trial-unproven"},
            ),
            PLAIN,
            OPUS,
            "trial-unproven",
        ),
        (Ask("auto", sticky=HAIKU, barred=UNPROVEN), PLAIN, HAIKU, "sticky"),
        (Ask("auto", needs=Needs(forced_tools=True)), PLAIN, HAIKU, "capability:tool-choice"),
        (
            Ask("auto", deep=True, needs=Needs(forced_tools=True)),
            PLAIN,
            HAIKU,
            "capability:tool-choice",
        ),
        (
            Ask("auto", deep=True, needs=Needs(thinking="between_tools")),
            PLAIN,
            SONNET,
            "capability:thinking",
        ),
        (
            Ask("auto", reading=EASY, needs=Needs(thinking="between_tools")),
            PLAIN,
            SONNET,
            "capability:thinking",
        ),
        (
            Ask("auto", sticky=SONNET, needs=Needs(forced_tools=True)),
            PLAIN,
            HAIKU,
            "capability:tool-choice",
        ),
        (Ask("auto", reading=EASY, needs=Needs(prefill=True)), PLAIN, HAIKU, "complexity"),
        (
            Ask("auto", reading=EASY, needs=Needs(effort="low")),
            RoutingRules(tiers=Tiers(low="claude-haiku-4-5")),
            SONNET,
            "capability:effort",
        ),
        (
            Ask("auto", needs=Needs(effort="low")),
            RoutingRules(tiers=Tiers(middle="claude-sonnet-4-5")),
            HAIKU,
            "capability:effort",
        ),
        (
            Ask("auto", reading=EASY, needs=Needs(chars=900_000)),
            RoutingRules(tiers=Tiers(low="claude-haiku-4-5", middle="claude-sonnet-4-5")),
            OPUS,
            "capability:context",
        ),
    ],
)
def test_the_first_that_speaks_decides(
    ask: Ask, rules: RoutingRules, model: str, reason: str
) -> None:
    route = choose(ask, rules, {})
    assert (route.model, route.reason) == (model, reason)


@pytest.mark.parametrize(
    ("override", "ask", "model", "reason"),
    [
        (Override("big", to_tier="middle"), Ask("big"), SONNET, "override"),
        (Override("big", to_model="small"), Ask("big"), "small", "override"),
        (Override("big", to_model="small"), Ask("bigger"), "bigger", "named"),
        (CODE_ONLY, Ask("big", inferred="code"), HAIKU, "override"),
        (CODE_ONLY, Ask("big", task="math"), "big", "named"),
        (Override("big", to_tier="low", task="code-review"), Ask("big"), "big", "named"),
        (Override(SONNET, to_tier="middle"), Ask(SONNET), SONNET, "named"),
        (
            Override("big", to_tier="middle"),
            Ask("big", needs=Needs(forced_tools=True)),
            "big",
            "capability:tool-choice",
        ),
        (Override("big"), Ask("big"), "big", "named"),
    ],
)
def test_a_named_model_moves_only_by_an_operators_rule(
    override: Override, ask: Ask, model: str, reason: str
) -> None:
    route = choose(ask, RoutingRules(overrides=(override,)), {})
    assert (route.model, route.reason) == (model, reason)
    assert route.baseline == (ask.model if reason == "override" else None)


def test_the_work_is_told_as_given_before_as_it_looks() -> None:
    assert choose(Ask("auto", task="Code-Review", inferred="math"), PLAIN, {}).task == "code_review"
    assert choose(Ask("named", inferred="math"), PLAIN, {}).task == "math"


@pytest.mark.parametrize(
    ("ask", "rules", "asked"),
    [
        (Ask("auto", reading=TORN), PLAIN, False),
        (Ask("auto", reading=TORN), SOMETIMES, True),
        (Ask("auto", reading=EASY), SOMETIMES, False),
        (Ask("auto", reading=EASY), ALWAYS, True),
        (Ask("auto"), SOMETIMES, True),
        (Ask("auto", deep=True), ALWAYS, False),
        (Ask("auto", sticky=HAIKU), ALWAYS, False),
        (Ask("auto", task="code"), ALWAYS, False),
        (Ask("named"), ALWAYS, False),
    ],
)
def test_haiku_is_asked_only_where_nothing_firmer_speaks(
    ask: Ask, rules: RoutingRules, asked: bool
) -> None:
    assert asks_haiku(ask, rules) is asked


def test_the_classifier_is_asked_only_where_nothing_firmer_speaks() -> None:
    assert needs_classifier(Ask("auto"), PLAIN)
    assert not needs_classifier(Ask("auto", deep=True), PLAIN)
    assert not needs_classifier(Ask("named"), PLAIN)
    assert not needs_classifier(Ask("auto"), RoutingRules(classifier=False))


shares = st.tuples(*[st.floats(0.001, 1)] * 3).map(
    lambda t: Complexity(t[0] / sum(t), t[1] / sum(t), t[2] / sum(t))
)
needs = st.builds(
    Needs,
    thinking=st.sampled_from([None, "adaptive", "disabled", "enabled", "between_tools"]),
    effort=st.sampled_from([None, "low", "max"]),
    forced_tools=st.booleans(),
    prefill=st.booleans(),
    computer=st.booleans(),
    output_tokens=st.integers(0, 200_000),
    chars=st.integers(0, 3_000_000),
)
tier_names = st.sampled_from(get_args(Tier))
asks = st.builds(
    Ask,
    model=st.just("auto"),
    task=st.none() | st.sampled_from([*TASKS, "nonsense"]),
    inferred=st.none() | st.sampled_from(TASKS),
    deep=st.booleans(),
    sticky=st.none() | st.sampled_from([HAIKU, SONNET]),
    reading=st.none() | shares,
    haiku=st.none() | st.sampled_from(get_args(Level)),
    haiku_asked=st.booleans(),
    needs=needs,
)
rules = st.builds(
    RoutingRules,
    default_tier=tier_names,
    levels=st.builds(Levels, tier_names, tier_names, tier_names),
    simple_from=st.floats(0, 1),
    complex_from=st.floats(0, 1),
    haiku=st.builds(Haiku, st.sampled_from(["never", "unsure", "always"])),
)


@given(asks, st.text(min_size=1).filter(lambda name: name != "auto"))
def test_a_named_model_is_never_changed_by_the_default_rules(ask: Ask, model: str) -> None:
    route = choose(replace(ask, model=model), PLAIN, {})
    assert (route.model, route.reason, route.baseline) == (model, "named", None)


@given(asks)
def test_opus_is_never_asked_without_deep_analysis_or_a_rule(ask: Ask) -> None:
    route = choose(ask, PLAIN, {})
    assert ask.deep or route.model != OPUS


@given(asks, rules)
def test_a_model_that_would_refuse_is_asked_only_where_every_tier_would(
    ask: Ask, rules: RoutingRules
) -> None:
    route = choose(ask, rules, {})
    lack = capabilities.lacks(capabilities.of(route.model, {}), ask.needs)
    every = [capabilities.lacks(capabilities.of(m, {}), ask.needs) for m in (HAIKU, SONNET, OPUS)]
    assert lack is None or None not in every
    if route.reason.startswith("capability:"):
        assert lack is None


@given(asks, rules)
def test_what_looks_hard_is_never_called_simple(ask: Ask, rules: RoutingRules) -> None:
    if ask.reading is not None:
        level = complexity.level(ask.reading, rules)
        if ask.reading.complex > rules.simple_complex_most:
            assert level != "SIMPLE"
        if ask.reading.simple < rules.simple_from:
            assert level != "SIMPLE"


bodies: Any = st.fixed_dictionaries(
    {"messages": st.just([{"role": "user", "content": "hi"}])},
    optional={"system": st.text(), "stop_sequences": st.lists(st.text(), max_size=2)},
)


@given(bodies, asks)
def test_a_route_never_changes_what_an_answer_is_stored_under(
    body: dict[str, Any], ask: Ask
) -> None:
    asked = query(body["messages"], **{k: v for k, v in body.items() if k != "messages"})
    before = fingerprint.shaping(asked.body)
    choose(ask, PLAIN, {})
    again = query(body["messages"], **{k: v for k, v in body.items() if k != "messages"})
    assert fingerprint.shaping(asked.body) == before
    assert (asked.fingerprint, asked.scope) == (again.fingerprint, again.scope)
    other = query(body["messages"], controls=Controls(task="code"))
    assert other.fingerprint != asked.fingerprint
