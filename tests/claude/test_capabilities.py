"""What a model would refuse, held against the simulated Claude, which refuses it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.claude import capabilities
from cacheserver.claude.capabilities import STATIC, Abilities, lacks, listed, needs, of
from cacheserver.simulated import catalogue, validation
from cacheserver.simulated.errors import ApiError

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]


def body(**given: Any) -> dict[str, Any]:
    return {"max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **given}


@pytest.mark.parametrize(
    ("given", "model", "lack"),
    [
        ({}, OPUS, None),
        ({"tool_choice": {"type": "any"}, "tools": TOOLS}, HAIKU, None),
        ({"tool_choice": {"type": "any"}, "tools": TOOLS}, SONNET, "tool-choice"),
        ({"tool_choice": {"type": "tool", "name": "look"}, "tools": TOOLS}, OPUS, "tool-choice"),
        ({"tool_choice": {"type": "auto"}, "tools": TOOLS}, OPUS, None),
        ({"thinking": {"type": "disabled"}}, HAIKU, None),
        ({"thinking": {"type": "disabled"}}, SONNET, "thinking"),
        ({"thinking": {"type": "disabled"}}, OPUS, "thinking"),
        ({"thinking": {"type": "between_tools"}}, SONNET, None),
        ({"thinking": {"type": "between_tools"}}, HAIKU, "thinking"),
        (
            {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}},
            SONNET,
            "effort",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, HAIKU, "budget"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 50}},
            "claude-haiku-4-5-20251001",
            None,
        ),
        ({"output_config": {"effort": "low"}}, "claude-haiku-4-5", "effort"),
        ({"output_config": {"effort": "low"}}, SONNET, None),
        ({"max_tokens": 128_001}, HAIKU, "output"),
        ({"max_tokens": 128_000}, HAIKU, None),
        ({"max_tokens": 64_001}, "claude-haiku-4-5", "output"),
    ],
)
def test_what_is_known_to_be_refused_is_refused(
    given: dict[str, Any], model: str, lack: str | None
) -> None:
    request = body(**given)
    assert lacks(of(model, {}), needs(request)) == lack
    full = {"model": model, **request}
    if lack is None:
        validation.check(full, version="2026-10-21")
    else:
        with pytest.raises(ApiError):
            validation.check(full, version="2026-10-21")


@pytest.mark.parametrize(
    ("given", "lack"),
    [
        ({"tools": [{"type": "computer_20251124", "name": "computer"}]}, "computer"),
        ({"temperature": 0.2}, "sampling"),
        ({"temperature": 1}, None),
        ({"top_k": 5}, "sampling"),
        (
            {
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": "The"},
                ]
            },
            "prefill",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": [{"type": "server_tool_use"}]},
                ]
            },
            None,
        ),
    ],
)
def test_what_the_newest_models_no_longer_take(given: dict[str, Any], lack: str | None) -> None:
    assert lacks(of(SONNET, {}), needs(body(**given))) == lack


def test_a_prompt_too_long_for_a_model_is_its_context() -> None:
    long = needs(body(system="x" * 700_000))
    assert lacks(of("claude-haiku-4-5", {}), long) == "context"
    assert lacks(of(HAIKU, {}), long) is None
    assert lacks(of(HAIKU, {}), needs(body(system="x" * 2_600_000))) == "context"


def test_an_image_is_no_text_and_a_text_document_is() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "A" * 3_000_000}}
    text = {"type": "document", "source": {"type": "text", "data": "A" * 3_000_000}}
    for block, lack in ((image, None), (text, "context")):
        request = body(messages=[{"role": "user", "content": [block]}])
        assert lacks(of(HAIKU, {}), needs(request)) == lack


def test_what_claudes_list_says_goes_before_our_table() -> None:
    told = listed([model.info() for model in catalogue.MODELS])
    for model in catalogue.MODELS:
        able = of(model.id, told)
        assert able.thinking == frozenset(model.thinking)
        assert able.max_input_tokens == model.max_input_tokens
        assert able.max_output_tokens == model.max_tokens
        assert bool(able.efforts) == model.effort
    row = {"id": HAIKU, "max_tokens": 5, "capabilities": {"effort": {"supported": False}}}
    changed = of(HAIKU, listed([row]))
    assert (changed.max_output_tokens, changed.efforts) == (5, frozenset())
    assert changed.thinking == STATIC[HAIKU].thinking


def test_our_table_agrees_with_the_simulated_claude() -> None:
    for model in catalogue.MODELS:
        able = of(model.id, {})
        assert able.forced_tools == model.forced_tools, model.id
        assert able.thinking is None or able.thinking == frozenset(model.thinking), model.id
        assert able.max_input_tokens == model.max_input_tokens, model.id


def test_a_dated_id_is_its_family_and_a_new_model_can_do_anything() -> None:
    assert of("claude-haiku-4-5-20251001", {}) == STATIC["claude-haiku-4-5"]
    assert of("claude-tern-7", {}) == Abilities()
    everything = needs(body(thinking={"type": "enabled"}, tool_choice={"type": "any"}, top_k=1))
    assert lacks(of("claude-tern-7", {}), everything) is None


leaf = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5)
names = st.sampled_from(
    [
        *(
            "type",
            "thinking",
            "effort",
            "tool_choice",
            "output_config",
            "tools",
            "source",
            "format",
        ),
        *("system", "messages", "content", "role", "max_tokens", "capabilities", "types"),
        "supported",
    ]
)
json = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, json, max_size=6))
def test_no_body_and_no_list_is_too_strange(strange: dict[str, Any]) -> None:
    for able in STATIC.values():
        lacks(able, capabilities.needs(strange))
    listed([strange, {"id": "m", **strange}, None, 3])
