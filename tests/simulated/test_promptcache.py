from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.simulated import Fault, catalogue, prompt, promptcache
from cacheserver.simulated.promptcache import PromptCache, Use
from tests.simulated.conftest import MODEL, Claude, Start

HAIKU = catalogue.find(MODEL)
LONG = "x" * 2_500  # 1,000 tokens
NOON = 1_790_000_000.0
ASK = [{"role": "user", "content": "Hello"}]


def part(text: str, ttl: str | None = None) -> dict[str, Any]:
    mark = {} if ttl is None else {"cache_control": {"type": "ephemeral", "ttl": ttl}}
    return {"type": "text", "text": text, **mark}


def body(*parts: dict[str, Any], **given: Any) -> dict[str, Any]:
    """A request whose system is `parts`, followed by a question of two tokens."""
    return {"model": MODEL, "system": list(parts), "messages": ASK, **given}


def use(
    cache: PromptCache, asked: dict[str, Any], now: float = NOON, owner: str = "one"
) -> tuple[int, int, int, int]:
    """Look and keep; return the tokens uncached, read, written for 5 minutes and for an hour."""
    model = catalogue.find(asked["model"])
    found = cache.look(promptcache.read(asked, model, owner=owner), now=now)
    cache.keep(found)
    return counts(found)


def counts(found: Use) -> tuple[int, int, int, int]:
    return (
        found.input_tokens,
        found.read_tokens,
        found.written_5m_tokens,
        found.written_1h_tokens,
    )


def test_a_marked_prefix_is_written_once_and_read_afterwards() -> None:
    cache = PromptCache()
    assert use(cache, body(part(LONG, "5m"))) == (2, 0, 1_000, 0)
    assert use(cache, body(part(LONG, "5m"))) == (2, 1_000, 0, 0)


def test_without_a_mark_nothing_is_cached() -> None:
    cache = PromptCache()
    assert use(cache, body(part(LONG))) == (1_002, 0, 0, 0)
    assert use(cache, body(part(LONG, "5m"))) == (2, 0, 1_000, 0)
    assert use(cache, body(part(LONG))) == (1_002, 0, 0, 0)


@pytest.mark.parametrize(("ttl", "lifetime_s"), [("5m", 300), ("1h", 3_600)])
def test_a_lifetime_counts_from_the_request_and_a_read_renews_it(ttl: str, lifetime_s: int) -> None:
    cache = PromptCache()
    asked = body(part(LONG, ttl))
    use(cache, asked, NOON)
    last = NOON + lifetime_s - 1
    assert use(cache, asked, last)[1] == 1_000
    assert use(cache, asked, last + lifetime_s - 1)[1] == 1_000
    assert use(cache, asked, last + 2 * lifetime_s - 1)[1] == 0


def test_what_is_too_short_is_silently_not_cached() -> None:
    cache = PromptCache()
    just_short, enough = "x" * 1_277, "x" * 1_278  # 511 and 512 tokens
    assert use(cache, body(part(just_short, "5m"))) == (513, 0, 0, 0)
    assert use(cache, body(part(enough, "5m"))) == (2, 0, 512, 0)
    old = "claude-haiku-4-5"
    assert use(cache, body(part("x" * 13_000, "5m"), model=old))[2] == 0
    assert use(cache, body(part("x" * 14_000, "5m"), model=old))[2] == 4_118


def test_writes_are_split_by_the_lifetime_of_their_breakpoint() -> None:
    cache = PromptCache()
    asked = body(part(LONG, "1h"), part(LONG), part(LONG, "5m"), part(LONG))
    assert use(cache, asked) == (1_002, 0, 2_000, 1_000)
    later = NOON + 301
    assert use(cache, asked, later) == (1_002, 1_000, 2_000, 0)
    assert use(cache, asked, later + 1) == (1_002, 3_000, 0, 0)


def test_the_longest_prefix_is_found_up_to_20_positions_back() -> None:
    for added, found in ((19, 1_000), (20, 0)):
        cache = PromptCache()
        use(cache, body(part(LONG, "5m")))
        more = [part("y" * 5) for _ in range(added - 1)]
        asked = body(part(LONG), *more, part("y" * 5, "5m"))
        assert use(cache, asked)[1] == found


def test_a_conversation_reads_its_own_past_by_the_automatic_mark() -> None:
    cache = PromptCache()
    automatic = {"cache_control": {"type": "ephemeral"}}
    turns: list[dict[str, Any]] = [{"role": "user", "content": LONG}]
    assert use(cache, {"model": MODEL, "messages": turns, **automatic}) == (0, 0, 1_000, 0)
    turns = [
        *turns,
        {"role": "assistant", "content": "x" * 5},
        {"role": "user", "content": "x" * 5},
    ]
    assert use(cache, {"model": MODEL, "messages": turns, **automatic}) == (0, 1_000, 4, 0)
    assert use(cache, {"model": MODEL, "messages": turns, **automatic}) == (0, 1_004, 0, 0)


def test_a_string_and_a_text_block_are_the_same_prefix() -> None:
    cache = PromptCache()
    automatic = {"cache_control": {"type": "ephemeral"}}
    for content in (LONG, [{"type": "text", "text": LONG}]):
        found = use(
            cache,
            {"model": MODEL, "messages": [{"role": "user", "content": content}], **automatic},
        )
    assert found == (0, 1_000, 0, 0)


TOOL = {"name": "t", "input_schema": {"type": "object"}, "description": LONG}


@pytest.mark.parametrize(
    ("changed", "tools_read", "system_read"),
    [
        ({"model": "claude-sonnet-5-5"}, False, False),
        ({"tools": [{**TOOL, "description": LONG + "!"}]}, False, False),
        ({"speed": "fast"}, True, False),
        ({"system": [part(LONG + "!", "5m")]}, True, False),
        ({"tool_choice": {"type": "none"}}, True, True),
        ({"thinking": {"type": "disabled"}}, True, True),
        ({"output_config": {"effort": "low"}}, True, True),
        ({"metadata": {"user_id": "u"}}, True, True),
    ],
)
def test_a_change_loses_what_comes_after_it_and_no_more(
    changed: dict[str, Any], tools_read: bool, system_read: bool
) -> None:
    cache = PromptCache()
    marked_tool = {**TOOL, "cache_control": {"type": "ephemeral"}}
    asked = body(
        part(LONG, "5m"),
        tools=[marked_tool],
        messages=[{"role": "user", "content": [part(LONG, "5m")]}],
    )
    model = catalogue.find(MODEL)
    tools, system, _ = (block.tokens for block in prompt.blocks(asked, model))
    use(cache, asked)
    altered = {**asked, **changed}
    if "tools" in changed:
        altered["tools"] = [{**changed["tools"][0], "cache_control": {"type": "ephemeral"}}]
    read = use(cache, altered)[1]
    everything = 1_000 if "metadata" in changed else 0
    assert read == tools * tools_read + system * system_read + everything


def test_accounts_share_nothing() -> None:
    cache = PromptCache()
    use(cache, body(part(LONG, "5m")), owner="one/")
    assert use(cache, body(part(LONG, "5m")), owner="two/")[1] == 0
    assert use(cache, body(part(LONG, "5m")), owner="one/workspace")[1] == 0


def test_a_prefix_is_readable_only_once_its_answer_has_begun() -> None:
    cache = PromptCache()
    asked = promptcache.read(body(part(LONG, "5m")), HAIKU, owner="one")
    first = cache.look(asked, now=NOON)
    second = cache.look(asked, now=NOON)
    assert counts(first) == counts(second) == (2, 0, 1_000, 0)
    cache.keep(first)
    assert counts(cache.look(asked, now=NOON))[1] == 1_000


TEXTS = st.sampled_from(["x" * 5, "y" * 1_300, LONG])
PARTS = st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=30)


def request_of(parts: list[tuple[str, bool]], ttl: str = "5m") -> dict[str, Any]:
    """At most the first four marks are kept, as the API takes no more."""
    marks = [index for index, (_, marked) in enumerate(parts) if marked][:4]
    return body(
        *(part(text, ttl if index in marks else None) for index, (text, _) in enumerate(parts))
    )


@given(st.lists(PARTS, min_size=1, max_size=6), st.lists(st.integers(0, 400), min_size=6))
def test_the_kinds_of_tokens_always_sum_to_the_prompt(
    requests: list[list[tuple[str, bool]]], gaps: list[int]
) -> None:
    cache = PromptCache()
    now = NOON
    for parts, gap in zip(requests, gaps, strict=False):
        asked = request_of(parts)
        now += gap
        found = use(cache, asked, now)
        assert sum(found) == prompt.tokens(asked, HAIKU)
        assert min(found) >= 0


@given(PARTS)
def test_the_same_request_again_reads_exactly_what_was_read_or_written(
    parts: list[tuple[str, bool]],
) -> None:
    cache = PromptCache()
    asked = request_of(parts)
    uncached, read, written, _ = use(cache, asked)
    assert read == 0
    assert use(cache, copy.deepcopy(asked), NOON + 299) == (uncached, written, 0, 0)


@given(PARTS, st.data())
def test_a_changed_block_is_never_read_nor_anything_after_it(
    parts: list[tuple[str, bool]], data: st.DataObject
) -> None:
    cache = PromptCache()
    asked = request_of(parts)
    use(cache, asked)
    at = data.draw(st.integers(0, len(parts) - 1))
    changed = copy.deepcopy(asked)
    changed["system"][at]["text"] = "z" * len(changed["system"][at]["text"])
    before = sum(block.tokens for block in prompt.blocks(asked, HAIKU)[:at])
    assert use(cache, changed)[1] <= before


async def test_usage_says_what_was_cached_over_the_wire(claude: Claude) -> None:
    system = [part(LONG, "1h"), part(LONG, "5m")]
    first = (await claude.ask("x" * 5, system=system))["usage"]
    assert first["cache_creation_input_tokens"] == 2_000
    assert first["cache_creation"] == {
        "ephemeral_1h_input_tokens": 1_000,
        "ephemeral_5m_input_tokens": 1_000,
    }
    claude.clock.now += 3_599
    async with claude.sdk().messages.stream(
        model=MODEL,
        max_tokens=10,
        system=system,  # type: ignore[arg-type]
        messages=[{"role": "user", "content": "x" * 5}],
    ) as stream:
        usage = (await stream.get_final_message()).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (2, 1_000)
    assert usage.cache_creation
    assert usage.cache_creation.ephemeral_5m_input_tokens == 1_000
    other = (await claude.ask(system=system, headers={"x-api-key": "two"}))["usage"]
    assert other["cache_read_input_tokens"] == 0
    desk = {"anthropic-workspace-id": "desk"}
    assert (await claude.ask(system=system, headers=desk))["usage"]["cache_read_input_tokens"] == 0


async def test_a_request_that_fails_writes_nothing(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("error"))
    system = [part(LONG, "5m")]
    assert (await claude.post(system=system)).status_code == 529
    assert (await claude.post("[[sim error=500]]", system=system)).status_code == 500
    assert (await claude.ask(system=system))["usage"]["cache_read_input_tokens"] == 0


async def test_a_fan_out_before_the_first_token_writes_every_time(start: Start) -> None:
    claude = await start(ttft_s=0.2)
    system = [part(LONG, "5m")]
    both = await asyncio.gather(claude.ask(system=system), claude.ask(system=system))
    assert [each["usage"]["cache_creation_input_tokens"] for each in both] == [1_000, 1_000]
    assert (await claude.ask(system=system))["usage"]["cache_read_input_tokens"] == 1_000


async def test_max_tokens_0_warms_the_cache_and_says_nothing(claude: Claude) -> None:
    system = [part(LONG, "5m")]
    warmed = await claude.ask("x" * 5, system=system, max_tokens=0)
    assert warmed["content"] == []
    assert warmed["usage"]["output_tokens"] == 0
    assert warmed["usage"]["cache_creation_input_tokens"] == 1_000
    assert (await claude.ask(system=system))["usage"]["cache_read_input_tokens"] == 1_000
