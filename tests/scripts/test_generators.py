"""The generators of training pairs: the label they claim, on questions written here."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.pairs import fit, near_misses, paraphrases, sets
from scripts.pairs.types import Pair

TEXTS = [
    "Is it safe to mail 3 kg of honey from Oslo to Bergen before Monday?",
    "How do I install the old driver without a disk on Windows?",
    "Should I walk with Karl or with Ines?",
    "What is the difference between tea and milk?",
    "If it rains in May, how can I dry a tent?",
]
WORDS = near_misses.gather(TEXTS)
seeds = st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("kind", "text", "possible"),
    [
        ("unit", "Is 3 kg much?", {"Is 3 lbs much?", "Is 3 grams much?"}),
        ("antonym", "Raise or open it", {"Raise and open it", "Raise or close it"}),
        ("negation", "Should I go?", {"Should I not go?"}),
        ("negation", "I do not go", {"I do go"}),
        ("negation", "Why can't I go?", {"Why can I go?"}),
        ("direction", "Go from Oslo to Bergen", {"Go from Bergen to Oslo"}),
        ("exchanged", "Does Karl owe Ines money?", {"Does Ines owe Karl money?"}),
        ("general", "Where do I buy honey for bees?", {"Where do I buy honey?"}),
        ("reordered", "Pair my phone to the router", {"Pair my router to the phone"}),
        ("reordered", "3 guests, 12 eggs", {"12 guests, 3 eggs"}),
    ],
)
def test_a_near_miss_changes_the_one_thing_it_is_named_for(
    kind: str, text: str, possible: set[str]
) -> None:
    maker, _ = near_misses.MAKERS[kind]
    assert maker(text, WORDS, Random(1)) in possible


@pytest.mark.parametrize(
    ("kind", "text", "made"),
    [
        ("clauses", "In Oslo, where do I park?", "Where do I park in Oslo?"),
        (
            "clauses",
            "Where do I park the car when it rains?",
            "When it rains, where do I park the car?",
        ),
        ("symmetric", "difference between tea and milk?", "difference between milk and tea?"),
        ("symmetric", "tea vs milk", "milk vs tea"),
        ("spelled_number", "boil two eggs", "boil 2 eggs"),
        ("spelled_number", "boil 20 eggs", "boil twenty eggs"),
        ("contraction", "it is not so", "it's not so"),
        ("genitive", "Who built the harbour of Oslo?", "Who built Oslo's harbour?"),
    ],
)
def test_a_paraphrase_changes_only_the_wording(kind: str, text: str, made: str) -> None:
    maker, _ = paraphrases.MAKERS[kind]
    assert maker(text, Random(4)) in {made, made.replace("it's not", "it isn't")}


@given(seeds)
def test_a_number_in_words_becomes_another_number(seed: int) -> None:
    made = near_misses.number("Two eggs", WORDS, Random(seed))
    assert made is not None
    assert made.split()[0].lower() in near_misses.SPELLED
    assert made[0].isupper()
    assert made != "Two eggs"


@pytest.mark.parametrize(
    "text", ["Compare my phone to the router", "the tea or the milk?", "my tea"]
)
def test_things_that_may_change_places_are_not_exchanged(text: str) -> None:
    assert all(near_misses.reordered(text, WORDS, Random(seed)) is None for seed in range(20))


def test_a_version_is_never_spelled_out() -> None:
    assert paraphrases.spelled_number("Ubuntu 12.04", Random(1)) is None


@given(st.sampled_from(TEXTS), seeds)
def test_a_near_miss_always_differs_and_names_its_kind(text: str, seed: int) -> None:
    made = near_misses.near_miss(text, WORDS, Random(seed))
    assert made is not None
    assert made[0].lower() != text.lower()
    assert made[1] in near_misses.MAKERS


@given(st.sampled_from(TEXTS), seeds)
def test_a_paraphrase_keeps_every_digit(text: str, seed: int) -> None:
    made = paraphrases.paraphrase(text, Random(seed))
    assert made is not None
    if made[1] != "spelled_number":
        assert [c for c in made[0] if c.isdigit()] == [c for c in text if c.isdigit()]


@given(seeds)
def test_the_same_seed_makes_the_same_pair(seed: int) -> None:
    assert fit.generated(TEXTS[0], WORDS, Random(seed)) == fit.generated(
        TEXTS[0], WORDS, Random(seed)
    )


def test_no_question_is_on_both_sides_of_a_split() -> None:
    pairs = [Pair(f"q{i}", f"q{i + 1}" if i % 3 else f"z{i}", i % 2, "own") for i in range(300)]
    rest, held = sets.split_by_component(pairs, 0.2)
    assert len(rest) + len(held) == 300
    assert held
    assert {t for p in rest for t in (p.a, p.b)}.isdisjoint({t for p in held for t in (p.a, p.b)})
