"""Vetoes: by table what each is for, by property what must always hold."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cacheserver.english.language import english
from cacheserver.english.lexicon import standard
from cacheserver.english.vetoes import VETOES
from cacheserver.matching.language import ALL_VETOES, VETO_NAMES, vetoes_between

ENGLISH = english()


def fired(a: str, b: str, enabled: frozenset[str] = ALL_VETOES) -> tuple[str, ...]:
    return vetoes_between(ENGLISH.profile(a), ENGLISH.profile(b), enabled, ENGLISH)


TEXTS = (
    *("Can I leave my car here?", "Must I leave the car here?", "May I leave your car there?"),
    *(
        "Who is the owner?",
        "Who was an owner?",
        "Where do I send it from?",
        "When do I send it to?",
    ),
    *("Do you ship from Canada?", "Do you ship to Canada only?", "Do they ship this to Oslo?"),
    *("How do I reset my password?", "How can you reset a password, please, on the new phone?"),
)


@pytest.mark.parametrize("one", TEXTS)
def test_vetoes_of_close_questions_fire_for_no_others(one: str) -> None:
    lexicon = standard()
    for other in TEXTS:
        difference = ENGLISH.compare(ENGLISH.profile(one), ENGLISH.profile(other))
        each = [name for name, veto in VETOES.items() if veto(difference, lexicon)]
        twins = ENGLISH.are_twins(difference)
        assert ENGLISH.vetoes(difference, ALL_VETOES) == (() if twins else tuple(each))


@pytest.mark.parametrize(
    ("veto", "a", "b"),
    [
        ("numeric", "Boil 3 eggs for how long?", "Boil 12 eggs for how long?"),
        ("numeric", "Is a price of 3,5 percent fair?", "Is a price of 35 percent fair?"),
        ("numeric", "What opened in 1998 in Rome?", "What opened in 1989 in Rome?"),
        ("numeric", "Wake me at 7 am", "Wake me at 7 pm"),
        ("unit", "Is 400 mg of zinc safe?", "Is 400 mcg of zinc safe?"),
        ("unit", "Can it be done in two days?", "Can it be done in two weeks?"),
        ("unit", "Oven heat for bread in Celsius", "Oven heat for bread in Fahrenheit"),
        ("temporal", "Is the museum open on Monday?", "Is the museum open on Sunday?"),
        ("temporal", "What is on tv today?", "What is on tv tomorrow?"),
        ("negation", "Should I water a cactus?", "Should I not water a cactus?"),
        ("negation", "Who can vote in Malta?", "Who can't vote in Malta?"),
        ("negation", "Paint a door with a brush", "Paint a door without a brush"),
        ("antonym", "How to raise my blood sugar?", "How to lower my blood sugar?"),
        ("antonym", "Turn on caps lock in Word", "Turn off caps lock in Word"),
        ("antonym", "Turn on the lamp while on a trip", "Turn off the lamp while on a trip"),
        ("antonym", "Is this mushroom edible and safe?", "Is this mushroom edible and unsafe?"),
        ("entity", "Who wrote a song about Lisbon?", "Who wrote a song about Porto?"),
        ("entity", "Does the S21 fit this case?", "Does the S22 fit this case?"),
        ("substitution", "best glue for broken glass", "best glue for broken wood"),
        ("direction", "Send a letter from Oslo to Bergen", "Send a letter from Bergen to Oslo"),
        ("direction", "Is tea healthier than milk?", "Is milk healthier than tea?"),
        ("order", "Does Karl owe Ines money?", "Does Ines owe Karl money?"),
        ("order", "Did Karl paint the fence?", "Was Karl painted by the fence?"),
        ("role", "Would he forgive her?", "Would she forgive him?"),
        ("connective", "Is Karl a baker or a potter?", "Is Karl a baker and a potter?"),
        ("span", "What does `ls -a` print?", "What does `ls -l` print?"),
        ("span", "Where is setup.cfg read?", "Where is setup.ini read?"),
        ("scope", "Where can I park for a day?", "Where can I park abroad for a day?"),
        ("narrowing", "How do I repair a zip?", "How do I repair a zip on boots?"),
    ],
)
def test_each_veto_catches_what_it_is_for(veto: str, a: str, b: str) -> None:
    assert veto in fired(a, b)
    assert veto not in fired(a, b, ALL_VETOES - {veto})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("How do I repair a zip?", "What is the best way to fix a zip?"),
        ("How do I repair a zip?", "how do i repair a zip"),
        (
            "How do I repair a zipper?",
            "Hi, could you please tell me how to repair a zipper? Thanks!",
        ),
        ("Is 1,500 g of flour enough?", "Is 1500 grams of flour enough?"),
        ("Wake me at 7 pm", "Wake me at 19:00"),
        ("Boil two eggs", "Boil 2 eggs"),
        ("tea vs milk", "milk vs tea"),
        ("Difference between tea and milk", "What is the difference between milk and tea?"),
        ("From Oslo to Bergen by bus", "To Bergen from Oslo by bus"),
        ("Did Karl paint the fence?", "Was the fence painted by Karl?"),
        ("Is Karl taller than Ines?", "Is Ines shorter than Karl?"),
        ("How do I become more generous?", "How do I become less greedy?"),
        ("Is it worth it?", "Is it worth it or not?"),
        ("Distance from Oslo to Bergen?", "Distance from Bergen to Oslo?"),
        ("red coat zip repair", "Where can I repair a zip on a red coat?"),
        ("To post it to Oslo, what do I pay?", "What do I pay to post it to Oslo?"),
        ("Why isn't my parcel there?", "Where is my parcel?"),
        ("How soon will it arrive by post?", "When can I expect it by post?"),
        ("In Ruby, how is a set copied?", "How is a set copied in Ruby?"),
        ("How do I recieve a parcel?", "How do I receive a parcel?"),
        ("What does NASA do?", "What does the National Aeronautics and Space Administration do?"),
    ],
)
def test_the_same_question_in_other_words_is_not_vetoed(a: str, b: str) -> None:
    assert fired(a, b) == ()
    assert fired(b, a) == ()


def test_a_number_on_one_side_only_is_not_another_number() -> None:
    assert "numeric" not in fired("How tall is the tower?", "How tall is the tower 2 now?")


def test_a_marker_does_not_count_between_questions_that_differ_anyway() -> None:
    far = "Which bakeries in town sell rye bread without sugar on Sunday for 4 euros?"
    assert fired("How do I repair a zip on Monday with 3 needles?", far) == ()


SAID = (
    "how do i not repair paint the 3 12 400mg 400 mcg zip fence Karl Ines from to than before "
    "and or more less `ls` a.py Monday today never without best worst on off turn he her $ 5 "
    "pm can't unsafe safe zips café \N{CJK UNIFIED IDEOGRAPH-6F22} ? . -- été"
)
phrases = st.lists(
    st.sampled_from(SAID.split()),
    max_size=12,
).map(" ".join)
texts = phrases | st.text(max_size=40)


@given(texts, texts)
@example("3 i", "how i 3")
@settings(max_examples=400)
def test_vetoes_do_not_depend_on_which_text_was_stored(a: str, b: str) -> None:
    assert fired(a, b) == fired(b, a)


@given(texts)
def test_a_text_never_vetoes_itself(text: str) -> None:
    assert fired(text, text) == ()


@given(phrases)
def test_the_case_and_the_question_mark_veto_nothing_in_lower_case_texts(text: str) -> None:
    low = text.lower()
    assert fired(low, f"{low} ?") == ()


@given(texts, texts, st.sets(st.sampled_from(sorted(VETO_NAMES))))
def test_switching_vetoes_off_only_takes_names_away(a: str, b: str, on: set[str]) -> None:
    assert fired(a, b, frozenset(on)) == tuple(name for name in fired(a, b) if name in on)


def test_an_unknown_name_switches_nothing_on() -> None:
    assert fired("Boil 3 eggs", "Boil 4 eggs", frozenset({"nonsense"})) == ()
