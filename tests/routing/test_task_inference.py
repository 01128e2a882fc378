"""The type of work that a request looks like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.tasks import TASKS
from cacheserver.routing.task_cues import CUES, starts
from cacheserver.routing.task_inference import edges, infer_task, last_text
from tests.models import ROOT


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Translate to German: good morning", "translation"),
        ("how do you say receipt in Spanish", "translation"),
        ("Übersetze das bitte ins Englische: Guten Abend", "translation"),
        ("prove that the square root of 2 is irrational step by step", "reasoning"),
        ("Beweise, dass es unendlich viele Primzahlen gibt", "reasoning"),
        ("Prove the lemma and summarise the idea", "reasoning"),
        ("Design a distributed rate limiter", "reasoning"),
        ("Review this pull request for mistakes", "code_review"),
        ("Summarise the text in two sentences", "summarisation"),
        ("tl;dr please", "summarisation"),
        ("Is this message spam or not?", "classification"),
        ("Classify the ticket as billing or technical", "classification"),
        ("Extract all dates from the text below", "extraction"),
        ("list every city mentioned in the report", "extraction"),
        ("Write a Python function that sorts a list", "code"),
        ("What does this do?\n```\nx = 1\n```", "code"),
        ("what is 17 * 23", "math"),
        ("Solve 2x + 6 = 14", "math"),
        ("Plan a weekend in Rome for two", "planning"),
        ("Draft an email to my landlord", "writing"),
        ("Compare Postgres and MySQL", "analysis"),
        ("How do I reset my password?", "support"),
        ("where is my order", "support"),
        ("hello there", "general_chat"),
        ("What is a mutex?", "short_qa"),
        ("capital of Mongolia?", "short_qa"),
        ("Tell me about the sea", None),
        ("   ", None),
    ],
)
def test_a_request_is_known_by_its_words(text: str, task: str | None) -> None:
    assert infer_task({}, text) == task


def test_an_instruction_after_a_long_paste_is_found_and_the_paste_is_not_read() -> None:
    page = "The committee met and argued about the harbour. " * 200
    assert infer_task({}, f"{page}\n\nTranslate this into Spanish.") == "translation"
    hidden = f"{page} please translate this {page}"
    assert infer_task({}, hidden) is None


@pytest.mark.parametrize(
    ("schema", "task"),
    [
        ({"properties": {"label": {"enum": ["a", "b"]}}}, "classification"),
        ({"properties": {"spam": {"type": "boolean"}}}, "classification"),
        ({"properties": {"name": {"type": "string"}}}, "extraction"),
        ({"properties": {"a": {"enum": ["x"]}, "b": {"enum": ["y"]}}}, "extraction"),
        ({}, "extraction"),
        (None, "extraction"),
    ],
)
def test_a_schema_for_the_answer_decides_before_the_words(schema: Any, task: str) -> None:
    body = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    assert infer_task(body, "Write a poem about rain") == task


def test_the_last_words_of_the_user_are_found_behind_what_came_after() -> None:
    turns = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "asked"}, {"type": "image"}]},
        {"role": "assistant", "content": "answered"},
    ]
    assert last_text({"messages": turns}) == "asked"
    assert last_text({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}) is None
    assert last_text({}) is None


def own_prompts() -> list[str]:
    files = sorted((ROOT / "scripts/routing").glob("own_*.txt"))
    return [line for file in files for line in file.read_text().splitlines() if line]


def test_no_pattern_fits_where_its_first_letters_say_it_cannot() -> None:
    for text in own_prompts():
        read = edges(text)
        for cue in CUES:
            if cue.pattern.search(read):
                assert not cue.starts.isdisjoint(starts(read)), (cue.task, text)


words = st.sampled_from(sorted({word for text in own_prompts() for word in text.split()}))


@given(st.lists(words, max_size=12).map(" ".join))
def test_what_is_inferred_is_a_task_we_have(text: str) -> None:
    assert infer_task({}, text) in (*TASKS, None)
    read = edges(text)
    for cue in CUES:
        assert not cue.pattern.search(read) or not cue.starts.isdisjoint(starts(read))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "format", "schema", "properties", "json_schema", "enum"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(json, st.none() | st.text(max_size=50))
def test_no_body_is_too_strange_to_be_looked_at(config: Any, text: str | None) -> None:
    infer_task(
        {"output_config": config, "messages": [{"role": "user", "content": text or "x"}]}, text
    )
