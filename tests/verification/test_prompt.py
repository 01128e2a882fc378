"""The frame of a verification and its reply: data stays data, and only one number is a yes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core import json_text
from cacheserver.verification import prompt
from cacheserver.verification.prompt import Stored
from tests.house import came_from
from tests.verification.attempts import ATTEMPTS
from tests.verification.house import ASKED, STORED, verifying

PLACES = ("question", "task", "stored question", "answer")
texts = st.text(st.characters(), max_size=40)


def framed(question: str, system: str, stored: str, answer: str) -> dict[str, Any]:
    return prompt.body_of(
        question,
        prompt.task_of({"system": system, "messages": [{"role": "user", "content": question}]}),
        [Stored(stored, answer, 0.0), Stored("another", "more", 1.0)],
        model="m",
        now=2.0,
    )


def same_frame(body: dict[str, Any], question: str, system: str, stored: str, answer: str) -> None:
    """The body is the plain one, and its JSON holds exactly what was given."""
    sent = json_text.loads(json_text.dumps(body))
    plain = framed("q", "s", "t", "a")
    assert {**sent, "messages": None} == {**plain, "messages": None}
    (message,) = sent["messages"]
    data = json.loads(message["content"])
    assert data == {
        "question": question,
        "task": {"system": system} if system else {},
        "stored": [
            {
                "number": 1,
                "question": stored,
                "answer": answer,
                "stored_at": "1970-01-01T00:00:00Z",
            },
            {
                "number": 2,
                "question": "another",
                "answer": "more",
                "stored_at": "1970-01-01T00:00:01Z",
            },
        ],
        "now": "1970-01-01T00:00:02Z",
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(texts, json_values, texts, texts, st.integers(0, 400))
def test_only_what_is_too_long_is_taken_for_it_by_its_parts(
    question: str, turns: Any, stored: str, answer: str, most: int
) -> None:
    task = {"turns": turns}
    body = prompt.body_of(question, task, [Stored(stored, answer, 0.0)], model="m", now=2.0)
    if prompt.exceeds([question, task, stored, answer], most):
        assert prompt.tokens_at_most(body) > most


def test_parts_are_read_no_further_than_the_limit() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert prompt.exceeds([endless], 4_000)
    assert prompt.exceeds(["x" * 8_001], 4_000)
    assert not prompt.exceeds(["x" * 7_000, {"turns": [1, None]}], 4_000)


def test_there_are_thirty_attempts() -> None:
    assert len(set(ATTEMPTS)) >= 30


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
def test_no_text_leaves_its_place_in_the_frame(place: str, attempt: str) -> None:
    given = [attempt if place == one else "plain" for one in PLACES]
    question, system, stored, answer = given
    same_frame(framed(question, system, stored, answer), question, system, stored, answer)


@given(texts, texts, texts, texts)
def test_the_data_is_what_was_given(question: str, system: str, stored: str, answer: str) -> None:
    same_frame(framed(question, system, stored, answer), question, system, stored, answer)


@pytest.mark.parametrize("attempt", [one for one in ATTEMPTS if one != "1"])
def test_no_attempt_is_a_reply_that_means_yes(attempt: str) -> None:
    assert prompt.choice({"content": [{"type": "text", "text": attempt}]}, 3) is None


@given(st.text(max_size=6), st.integers(1, 3))
def test_only_the_number_of_a_stored_answer_is_a_yes(text: str, count: int) -> None:
    found = prompt.choice({"content": [{"type": "text", "text": text}]}, count)
    numbers = [str(number) for number in range(1, count + 1)]
    plain = text.strip(" \n")
    assert found == (numbers.index(plain) if plain in numbers else None)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "1",
        [],
        ["1"],
        [{"type": "text"}],
        [{"type": "text", "text": 1}],
        [{"type": "thinking", "text": "1"}],
        [{"type": "text", "text": "1"}, {"type": "text", "text": "1"}],
    ],
)
def test_a_reply_of_another_form_is_no(content: Any) -> None:
    assert prompt.choice({"content": content}, 1) is None


def test_more_text_is_never_fewer_tokens_at_most() -> None:
    few, more = framed("a", "b", "c", "d"), framed("a" * 500, "b", "c", "d")
    assert prompt.tokens_at_most(few) < prompt.tokens_at_most(more)
    assert prompt.tokens_expected(more) < prompt.tokens_at_most(more)


async def test_what_claude_was_told_cannot_leave_the_frame_either(tmp_path: Path) -> None:
    """Through the front door: an attempt is the stored answer, then part of the system prompt."""
    async with verifying(tmp_path, "NONE") as scene:
        tried = [one for one in ATTEMPTS if "\ud800" not in one]  # no server sends that
        count = 0
        for number, attempt in enumerate(tried):
            scene.answers = lambda asked, attempt=attempt: f"Some words. {attempt}"  # type: ignore[misc]
            key = await scene.house.key(f"t{number}")
            system = f"Answer briefly. {attempt}"
            first = await scene.ask(STORED, key=key, system=system)
            if "x-cache-entry" not in first.headers:
                continue  # such an answer is not stored
            count += 1
            answer = await scene.ask(ASKED, key=key, system=system)
            assert came_from(answer) == ("miss", "refuted"), attempt
            data = scene.data[-1]
            assert data["task"] == {"system": system}
            (stored,) = data["stored"]
            assert stored["answer"].startswith(f"Some words. {attempt}")
            assert scene.calls[-1].body["system"] == prompt._TASK
        assert len(scene.calls) == count > 15
