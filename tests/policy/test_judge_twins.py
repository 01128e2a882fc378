"""Twins: one question in another frame, and what only looks like it."""

from __future__ import annotations

import pytest

from cacheserver.policy import evidence, profile
from cacheserver.policy.lexicon import standard

LEXICON = standard()


def twins(one: str, other: str) -> bool:
    a, b = profile.read(one, LEXICON), profile.read(other, LEXICON)
    found = evidence.twins(evidence.compare(a, b, LEXICON))
    assert found == evidence.twins(evidence.compare(b, a, LEXICON))
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "What's the capital of France?"),
        ("How do I reset my password?", "How can I reset my password?"),
        ("how to cancel an order", "How to cancel the order?"),
    ],
)
def test_another_frame_is_the_same_question(one: str, other: str) -> None:
    assert twins(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "What is the capital of Germany?"),
        ("How do I enable sync?", "How do I disable sync?"),
        ("Is it safe to eat eggs?", "Is it not safe to eat eggs?"),
        ("Convert 10 miles to km", "Convert 10 km to miles"),
        ("Is 400 mg too much?", "Is 600 mg too much?"),
        ("Where do I send the form?", "When do I send the form?"),
        ("Does a dog like a cat?", "Does a cat like a dog?"),
        ("Can I come on Monday?", "Can I come on Tuesday?"),
        ('What does "open" mean?', 'What does "closed" mean?'),
    ],
)
def test_a_word_that_matters_makes_another(one: str, other: str) -> None:
    assert not twins(one, other)
