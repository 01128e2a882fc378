"""Which questions depend on when, where and by whom they are asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.types import VolatilityCaps
from cacheserver.english.volatility.detector import detect_volatility
from cacheserver.english.volatility.drift_model import features
from cacheserver.matching.volatility import Volatility, VolatilityKind, ttl_cap_s

CAPS = VolatilityCaps()
SWITCHED_OFF = VolatilityCaps(time_s=None, drift_s=None, place_s=None, personal_s=None)


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("What's the weather in Oslo?", "weather"),
        ("Will it rain in Bergen?", "weather"),
        ("What is the Apple stock price?", "market"),
        ("How much is gold worth?", "market"),
        ("What's the exchange rate for dollars?", "exchange-rate"),
        ("50 dollars in euros", "exchange-rate"),
        ("Who plays in the derby tonight?", "today"),
        ("What films are out this week?", "this-period"),
        ("Which bug trackers are most popular right now?", "now"),
        ("Who is the current chancellor?", "current"),
        ("What is the latest Python release?", "latest"),
        ("Any news about the strike?", "latest"),
        ("How bad is the traffic on the M25?", "traffic"),
        ("Is flight LH400 on time?", "flight"),
        ("Who is winning?", "score"),
        ("What time is it in Tokyo?", "clock"),
        ("What's the date?", "clock"),
        ("When is the next full moon?", "countdown"),
        ("What are your opening hours?", "open-hours"),
        ("Is the blue one in stock?", "open-hours"),
    ],
)
def test_what_changes_by_the_minute_is_of_its_time(text: str, cue: str) -> None:
    assert detect_volatility(text) == Volatility("time", 1.0, cue)


@pytest.mark.parametrize(
    "text",
    [
        "Where can I eat sushi near me?",
        "Where is the nearest pharmacy?",
        "What is the closest ATM to me?",
        "Are there good dentists in my area?",
        "How far is the beach from here?",
        "Where am I?",
        "Which plumbers work in this city?",
    ],
)
def test_what_depends_on_the_asker_s_place_is_of_that_place(text: str) -> None:
    assert detect_volatility(text).kind == "place"


@pytest.mark.parametrize(
    "text",
    [
        "Where is my order?",
        "where\N{RIGHT SINGLE QUOTATION MARK}s my parcel",
        "What is my balance?",
        "Can you tell me my credit limit?",
        "Did my payment go through?",
        "Has my refund been processed yet?",
        "When will my package arrive?",
        "What's the status of my application?",
        "How much did I spend on food in March?",
        "How many vacation days do I have left?",
        "Do I have any meetings with Ana?",
        "Is milk on my shopping list?",
        "When is my electricity bill due?",
        "Please look at order #A-123456",
        "Write to me at ana@example.org",
    ],
)
def test_the_state_of_the_asker_s_own_data_is_personal(text: str) -> None:
    assert detect_volatility(text).kind == "personal"


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "How can I check my balance?",
        "Where can I see my transactions?",
        "Can I track my order?",
        "Why was my card declined?",
        "My card is not working",
        "I lost my phone, what should I do?",
        "How do I change my address?",
        "I want to close my account",
        "What can I do if my payment failed?",
        "How long does a transfer take?",
    ],
)
def test_a_support_desk_s_common_questions_say_my_and_are_shared(text: str) -> None:
    assert detect_volatility(text).kind == "stable"


@pytest.mark.parametrize(
    "text",
    [
        "Who wrote Hamlet?",
        "What is the capital of France?",
        "What was the price of oil in 1973?",
        "How does direct current differ from alternating current?",
        "How do I open a current account?",
        "Which is the closest planet to the sun?",
        "What does a red traffic light mean?",
        "What causes bad weather?",
        "How do you spell umbrella?",
        "I sent the money yesterday and it has not come",
        "Who won the world cup in 1998?",
        "Explain the Python match statement",
        "",
        "?!",
        "Wie wird das Wetter?",
    ],
)
def test_what_holds_still_is_stable(text: str) -> None:
    found = detect_volatility(text)
    assert (found.kind, found.cue) == ("stable", None)
    assert found.probability > 0.4


@pytest.mark.parametrize(
    "text",
    [
        "who is the prime minister of norway",
        "when was the last time italy won the world cup",
        "who has the most goals in the premier league",
        "what is the population of lagos",
    ],
)
def test_what_changes_over_months_drifts(text: str) -> None:
    found = detect_volatility(text)
    assert (found.kind, found.cue) == ("time", "drift")
    assert 0.6 <= found.probability < 1


def test_a_year_holds_a_drifting_question_still() -> None:
    assert detect_volatility("who is the president of france").cue == "drift"
    assert detect_volatility("who was the president of france in 1962").kind == "stable"


def test_the_strictest_kind_wins() -> None:
    assert detect_volatility("what is the weather near me today").kind == "place"
    assert detect_volatility("what is my balance today").kind == "personal"


def test_a_long_text_is_read_at_its_end() -> None:
    prose = "the ship left the harbour. " * 200
    assert detect_volatility(prose + "What is the weather in Oslo?").cue == "weather"
    assert detect_volatility("What is the weather in Oslo? " + prose).kind == "stable"


@pytest.mark.parametrize(
    ("found", "cap_s"),
    [
        (Volatility("stable", 0.9), None),
        (Volatility("time", 1.0, "weather"), 300),
        (Volatility("time", 0.7, "drift"), 86_400),
        (Volatility("place", 1.0, "near-me"), 0),
        (Volatility("personal", 1.0, "where-is-my"), 0),
    ],
)
def test_each_kind_has_its_cap(found: Volatility, cap_s: int | None) -> None:
    assert ttl_cap_s(found, CAPS) == cap_s
    assert ttl_cap_s(found, SWITCHED_OFF) is None


def test_an_operator_may_share_what_is_not_shared_by_default() -> None:
    caps = VolatilityCaps(personal_s=3_600, place_s=60, time_s=0)
    assert ttl_cap_s(Volatility("personal", 1.0, "where-is-my"), caps) == 3_600
    assert ttl_cap_s(Volatility("place", 1.0, "here"), caps) == 60
    assert ttl_cap_s(Volatility("time", 1.0, "weather"), caps) == 0


def test_features_mark_the_first_word_and_make_numbers_alike() -> None:
    assert features(["in", "1998", "or", "7"]) == {
        *("in", "<year>", "or", "<num>"),
        *("^ in", "in <year>", "<year> or", "or <num>"),
    }


@given(st.text(max_size=400))
def test_any_text_has_an_answer_that_holds_none_of_it(text: str) -> None:
    found = detect_volatility(text)
    kinds: tuple[VolatilityKind, ...] = ("stable", "time", "place", "personal")
    assert found.kind in kinds
    assert 0.0 <= found.probability <= 1.0
    assert (found.cue is None) == (found.kind == "stable")
    assert found == detect_volatility(text.upper().lower()) or text.upper().lower() != text.lower()
