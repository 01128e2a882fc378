"""The simulated Claude verifies by the words and figures of questions, as its page says."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.simulated import verification
from cacheserver.verification import prompt


def asked(question: str, *stored: str) -> dict[str, Any]:
    shown = [prompt.Stored(text, "An answer.", 0.0) for text in stored]
    return prompt.body_of(question, {}, shown, model="m", now=1.0)


@pytest.mark.parametrize(
    ("stored", "reply"),
    [
        (("How do I reset my password?",), "1"),
        (("Where is my invoice?", "How do I reset my password?"), "2"),
        (("Where is my invoice?",), "NONE"),
        (("How do I reset my 2 passwords?",), "NONE"),  # another figure
        (("password",), "NONE"),  # less than half of all words
        (("of", ""), "NONE"),
    ],
)
def test_half_of_the_words_and_the_same_figures_serve(stored: tuple[str, ...], reply: str) -> None:
    assert verification.reply(asked("how to reset a password", *stored)) == reply


def test_what_is_no_verification_is_answered_otherwise() -> None:
    body = asked("a", "b")
    assert verification.reply({**body, "system": "Another."}) is None
    assert (
        verification.reply({**body, "messages": [{"role": "user", "content": "no JSON"}]}) is None
    )
    assert verification.reply({**body, "messages": []}) is None
