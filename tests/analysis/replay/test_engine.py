"""What each lever makes of a log, alone and with the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import LEVERS
from cacheserver.core.types import Tenant, Usage
from cacheserver.ledger.counterfactual import rescale_tokens
from tests.analysis.replay.calls import MODEL, call, cost, played

OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
LONG = "You answer for the shop. " * 400  # some 4,000 tokens


def test_an_identical_request_is_answered_within_the_lifetime_and_not_after() -> None:
    first, hit, late = played([call(at=0, source="a:1"), call(at=3_599), call(at=3_601)], "exact")
    assert first.kind is None
    assert (hit.kind, hit.like, hit.together) == ("exact", "a:1", {"exact": hit.spent})
    assert hit.alone == {"exact": hit.spent}
    assert (late.kind, late.together) == (None, {})
    assert late.late == pytest.approx(1.0)
    assert (first.late, hit.late) == (None, None)


def test_a_declared_question_saves_what_its_own_prompt_was_billed() -> None:
    def asked(document: str, at: float, tokens: int) -> Call:
        marked = [{"type": "text", "text": document, "cache_context": True}]
        turns = [{"role": "user", "content": marked}]
        declared = {"cache_question": "How long is the warranty?", "cache_context": "kb@v1"}
        return call(at=at, messages=turns, usage=Usage(tokens, 50), **declared)

    _, hit = played([asked("Two years. " * 9_000, 0, 20_000), asked("24 months", 1, 200)], "exact")
    assert (hit.kind, hit.together) == ("exact", {"exact": cost(MODEL, Usage(200, 50))})


@pytest.mark.parametrize(
    "other",
    [
        call(at=1, tenant="another"),
        call(at=1, system="Be brief."),
        call(at=1, model=HAIKU),
        call(at=1, max_tokens=301),
        call("What is the capital of Spain?", at=1),
    ],
)
def test_what_differs_in_anything_is_not_answered(other: Call) -> None:
    assert [step.kind for step in played([call(), other], "exact")] == [None, None]


@pytest.mark.parametrize(
    "first",
    [
        call(stop="max_tokens"),
        replace(call(), status=529),
        replace(call(), hit=True),
        call(container="c1"),
        replace(call(), usage=Usage(100, 50, service_tier="batch")),
    ],
)
def test_what_the_server_would_not_keep_answers_nobody(first: Call) -> None:
    assert played([first, replace(call(at=1))], "exact")[1].kind is None


def test_what_another_cache_answered_was_not_billed() -> None:
    (step,) = played([replace(call(), hit=True)])
    assert (step.spent, step.alone, step.together) == (0, {}, {})


def test_a_refusal_before_any_output_was_free() -> None:
    refused = replace(call(), message={"content": [], "stop_reason": "refusal"})
    assert played([refused])[0].spent == 0


def test_a_model_without_a_price_is_unpriced_and_claims_nothing() -> None:
    (step,) = played([call(model="claude-of-tomorrow")])
    assert (step.spent, step.reason, step.alone) == (None, "unpriced", {})


def test_without_a_prompt_nothing_is_claimed() -> None:
    (step,) = played([replace(call(), body=None)])
    assert (step.reason, step.alone, step.together) == ("no-prompt", {}, {})
    assert step.spent == cost(MODEL, Usage(100, 50))


def test_a_body_that_claude_would_refuse_is_no_request() -> None:
    assert played([call(messages="none")])[0].reason == "no-prompt"


def test_simple_work_moves_to_the_cheap_model_and_hard_work_stays() -> None:
    simple = call("Is this text positive or negative? 'I love it.'", model=OPUS)
    (step,) = played([simple], "routing")
    assert step.route is not None
    assert step.route.model == HAIKU
    assert step.alone == step.together
    assert step.alone["routing"] == cost(OPUS, simple.usage) - cost(HAIKU, simple.usage)


def test_nothing_moves_to_a_dearer_model() -> None:
    hard = "Prove that there are infinitely many primes, then design a distributed rate limiter."
    (step,) = played([call(hard, model=HAIKU)], "routing")
    assert step.route is not None
    assert (step.route.model, step.alone) == (HAIKU, {})


def test_what_the_cheap_model_would_refuse_stays() -> None:
    asked = call("Is this text positive or negative? 'I love it.'", model=OPUS, temperature=0.2)
    (step,) = played([asked], "routing")
    assert step.route is not None
    assert (step.route.model, step.route.reason) == (OPUS, "capability:sampling")


def test_a_long_prompt_is_written_once_and_read_after() -> None:
    usage = Usage(4_100, 20)
    steps = played(
        [call(f"Question {n}?", at=n, system=LONG, usage=usage) for n in range(20)],
        "prompt-caching",
    )
    assert [step.plan for step in steps[:3]] == ["first-sight", "write", "read"]
    assert steps[1].alone["prompt-caching"] < 0 < steps[2].alone["prompt-caching"]
    assert steps[2].alone["prompt-caching"] > 0.5 * (steps[2].spent or 0)


def test_a_hit_that_kept_a_prefix_warm_makes_the_next_miss_write_it() -> None:
    """Four minutes apart each call reads what the last one renewed; a hit renews nothing."""
    read = Usage(100, 50, cache_read_tokens=4_000)
    write = Usage(100, 50, cache_write_5m_tokens=4_000)
    calls = [
        call("A?", at=0, usage=write),
        call("A?", at=240, usage=read),
        call("B?", at=480, usage=read),
    ]
    _, hit, miss = played(calls, "exact")
    assert hit.kind == "exact"
    assert miss.together == {"exact": cost(MODEL, read) - cost(MODEL, write)}
    assert miss.alone == miss.together
    both = played([calls[0], calls[2]], "exact")
    assert both[1].together["exact"] < 0  # 8 minutes after the only call that was made


def test_a_call_of_a_batch_keeps_its_prefix_warm_in_every_world() -> None:
    read, batch = Usage(100, 50, cache_read_tokens=4_000), Usage(100, 50, service_tier="batch")
    first = call("A?", at=0, usage=replace(batch, cache_write_5m_tokens=4_000))
    warm, cold = (call(f"{at}?", at=at, usage=read) for at in (200, 900))
    steps = played([first, warm, cold], "exact")
    assert [step.together for step in steps[:2]] == [{}, {}]
    again = Usage(100, 50, cache_write_5m_tokens=4_000)
    assert steps[2].together == {"exact": cost(MODEL, read) - cost(MODEL, again)}
    assert all(step.alone == step.together for step in steps)


def test_a_routed_call_finds_nothing_that_the_dear_model_wrote() -> None:
    text = "Is this text positive or negative? 'I love it.'"
    read = Usage(100, 50, cache_read_tokens=4_000)
    (step,) = played([call(text, model=OPUS, usage=read)], "routing")
    cold = Usage(100, 50, cache_write_5m_tokens=4_000)
    assert step.alone["routing"] == cost(OPUS, read) - cost(HAIKU, cold)


def test_a_nightly_job_is_batched_once_it_is_known_to_be_regular() -> None:
    day = 86_400
    calls = [
        call(f"Classify text {night}-{n}.", at=night * day + n, source=f"{night}")
        for night in range(8)
        for n in range(5)
    ]
    steps = played(calls, "batch")
    nights = [any(step.batched for step in steps[5 * n : 5 * n + 5]) for n in range(8)]
    assert nights == [False] * 4 + [True] * 4
    one = steps[-1]
    assert one.together["batch"] == (one.spent or 0) - cost(
        MODEL, Usage(100, 50, service_tier="batch"), calls[-1].at
    )
    streamed = played([replace(one, stream=True) for one in calls], "batch")
    assert not any(step.batched for step in streamed)


usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 9_000),
    output_tokens=st.integers(0, 3_000),
    cache_write_5m_tokens=st.sampled_from([0, 0, 4_000]),
    cache_write_1h_tokens=st.sampled_from([0, 0, 0, 4_000]),
    cache_read_tokens=st.sampled_from([0, 0, 4_000]),
    service_tier=st.sampled_from(["standard", "standard", "standard", "batch"]),
    inference_geo=st.sampled_from(["", "us"]),
)
calls_made = st.builds(
    call,
    text=st.sampled_from([f"Is review {n} good or bad?" for n in range(4)] + ["Prove it."]),
    at=st.integers(0, 20_000),
    model=st.sampled_from([OPUS, MODEL, HAIKU, "claude-sonnet-4-6"]),
    usage=usages,
    tenant=st.sampled_from(["one", "two"]),
    system=st.sampled_from([None, "Be brief.", LONG]),
)


@settings(max_examples=40)
@given(st.lists(calls_made, max_size=12), st.sets(st.sampled_from(LEVERS)))
def test_parts_sum_to_what_is_left_and_nobody_is_paid_for_asking(
    calls: list[Call], levers: set[str]
) -> None:
    calls = sorted(calls, key=lambda one: one.at)
    names = levers - {"semantic"} or {"exact"}
    for one, step in zip(calls, played(calls, *names), strict=True):
        assert step.spent == cost(one.model, one.usage, one.at)
        left = step.spent - sum(step.together.values())
        assert left >= 0
        assert set(step.together) | set(step.alone) <= names
        if step.kind is not None:
            assert left == 0
        elif step.route is None and not step.together:
            assert left == step.spent
        if "routing" in step.together:
            assert step.route is not None


BATCHED = Usage(cache_read_tokens=4_000, service_tier="batch")


@settings(max_examples=40)
@given(
    st.lists(calls_made, max_size=12), st.sampled_from([one for one in LEVERS if one != "semantic"])
)
@example(
    [call(usage=BATCHED), call(at=3_600, usage=Usage(cache_read_tokens=4_000))],
    "exact",
)
def test_a_lever_that_is_the_only_one_does_the_same_alone(calls: list[Call], lever: str) -> None:
    calls = sorted(calls, key=lambda one: one.at)
    for step in played(calls, lever):
        assert step.alone == step.together


@settings(max_examples=40)
@given(st.lists(calls_made, max_size=12))
def test_a_routed_call_is_priced_as_the_model_it_went_to(calls: list[Call]) -> None:
    calls = sorted(calls, key=lambda one: one.at)
    for one, step in zip(calls, played(calls, "routing"), strict=True):
        assert step.route is not None
        if step.route.model == one.model:
            assert step.together.get("routing", 0) <= 0
        elif not (one.usage.cache_read_tokens or one.usage.cache_write_5m_tokens):
            usage = rescale_tokens(one.usage, one.model, step.route.model)
            left = (step.spent or 0) - step.together.get("routing", 0)
            assert left == cost(step.route.model, usage, one.at)


def test_what_is_remembered_is_bounded() -> None:
    calls = [call(f"Question {n}?", at=n) for n in range(1_100)]
    steps = played([*calls, call("Question 0?", at=1_200), call("Question 1099?", at=1_201)])
    assert Tenant("default").default_ttl_s > 1_201
    assert [step.kind for step in steps[-2:]] == [None, "exact"]
