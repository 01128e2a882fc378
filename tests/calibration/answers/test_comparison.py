from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.calibration.answers import comparison, reply
from cacheserver.calibration.answers.comparison import (
    Cosines,
    Exchange,
    Grouped,
    Outcome,
    assign,
    majority,
    outcome,
    same_text,
    verdict,
)
from cacheserver.english.language import english

ENGLISH = english()
CAPITAL, AGAIN = "What is the capital of France?", "Which city is the capital of France?"
PARIS = "The capital of France is Paris, on the river Seine."
NEAR = Cosines(questions=0.9, answers=0.9)
FAR = Cosines(questions=0.3, answers=0.2, lean=0.4)


def exchange(question: str, answer: str) -> Exchange:
    return Exchange(ENGLISH.profile(question), reply.read(reply.plain(answer), ENGLISH))


def stored(question: str, answer: str, cosines: Cosines = NEAR, group: str = "g") -> Grouped:
    return Grouped(group, exchange(question, answer), cosines)


def judged(
    answers: tuple[str, str],
    questions: tuple[str, str] = (CAPITAL, AGAIN),
    cosines: Cosines = NEAR,
) -> Outcome:
    (one, other), (asked, again) = answers, questions
    return outcome(exchange(asked, one), stored(again, other, cosines), ENGLISH)


def test_two_wordings_of_one_answer_to_two_wordings_of_one_question_are_the_same() -> None:
    assert judged((PARIS, "Paris is France's capital; it lies on the Seine.")) == "same"


def test_answers_about_something_else_contradict() -> None:
    answers = (PARIS, "Turn the oven to a low heat and wait until the crust is brown.")
    assert judged(answers, (CAPITAL, "How do I bake a loaf of bread?"), FAR) == "different"


def test_answers_that_are_less_alike_than_that_are_open() -> None:
    assert (
        judged(
            (PARIS, "It is the city on the Seine, with its famous tower."),
            cosines=Cosines(questions=0.9, answers=0.55),
        )
        == "open"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wait 3 days for the new card to arrive.", "Wait 5 days for the new card to arrive."),
        ("Yes, you may take it on board.", "No, you may not take it on board."),
        ("Usually yes, as a carry-on bag.", "Usually not, even as a carry-on bag."),
        (
            "It costs 20 dollars a year, billed in May.",
            "It costs 35 dollars a year, billed in May.",
        ),
        ("Run it before the update is installed.", "Run it after the update is installed."),
        (
            "You get it within 3 days, and we send a mail when it leaves our house.",
            "A mail tells that it has left; about 5 days later the parcel is with you.",
        ),
    ],
)
def test_a_cosine_near_one_does_not_hide_what_contradicts(one: str, other: str) -> None:
    near = Cosines(questions=1.0, answers=1.0)
    assert judged((one, other), ("Is this so?", "Is it so?"), near) != "same"
    assert judged((one, other), ("Is this so?", "Is it so?"), replace(near, answers=0.5)) != "same"


def test_answers_to_questions_between_which_a_veto_stands_are_never_the_same() -> None:
    questions = ("How do I enable sync on my phone?", "How do I disable sync on my phone?")
    answers = ("Open the settings, then Sync, and press the switch.",) * 2
    assert judged(answers, questions, Cosines(0.98, 1.0)) != "same"


def test_each_question_nearer_to_its_own_answer_speaks_against_one_answer_for_both() -> None:
    plain = Cosines(questions=0.8, answers=0.70)
    answers = (PARIS, "Paris is France's capital; it lies on the Seine.")
    assert judged(answers, cosines=plain) == "same"
    assert judged(answers, cosines=replace(plain, lean=0.3)) == "open"


def test_what_parts_at_its_end_is_never_the_same() -> None:
    answers = (PARIS, "Paris is France's capital; it lies on the Seine.")
    assert judged(answers, cosines=replace(NEAR, parted=True)) == "open"


SPAM = ('Is this spam, yes or no? "The lamp was cheap."', 'Is this spam, yes or no? "I sent it."')


@pytest.mark.parametrize("same", ["No.", "OK", "not spam", "positive", "Paris."])
@pytest.mark.parametrize("questions", [SPAM, (CAPITAL, AGAIN)])
def test_equal_brief_answers_to_questions_that_are_not_near_teach_nothing(
    same: str, questions: tuple[str, str]
) -> None:
    assert judged((same, same), questions, Cosines(questions=0.94, answers=1.0)) == "open"
    fresh, other = exchange(questions[0], same), stored(questions[1], same, Cosines(0.94, 1.0))
    assert assign(fresh, [other], ENGLISH) is None


def test_a_brief_answer_is_the_same_where_the_questions_are_near() -> None:
    near = Cosines(questions=0.96, answers=1.0)
    assert judged(("Paris.", "Paris"), cosines=near) == "same"
    assert judged(("Paris.", "It is Paris, as it has been for centuries."), cosines=near) == "same"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "No."),
        ("No.", "Yes, that is possible on every working day."),
        ("true", "false"),
        ("spam", "ham"),
        ("positive", "negative"),
        ("5432", "The server listens on port 3306."),
    ],
)
@pytest.mark.parametrize("questions", [0.3, 0.99])
def test_brief_answers_that_contradict_are_different(
    one: str, other: str, questions: float
) -> None:
    cosines = Cosines(questions=questions, answers=0.9)
    assert judged((one, other), SPAM, cosines) == judged((other, one), SPAM, cosines) == "different"


ANSWERS = st.sampled_from(
    (PARIS, "No.", "Yes, in 3 days.", "It takes 5 days and costs 20 euros.", "spam", "ham", "206",
     "Open the menu, choose Card and press Show.", "Not before noon, as a rule.", "")
)  # fmt: skip
QUESTIONS = st.sampled_from((CAPITAL, AGAIN, *SPAM, "How long does it take?", "Is it open?"))
COSINES = st.builds(Cosines, st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.booleans())


@given(ANSWERS, ANSWERS, QUESTIONS, QUESTIONS, COSINES)
def test_the_comparison_has_no_order(
    one: str, other: str, asked: str, again: str, cosines: Cosines
) -> None:
    turned = judged((other, one), (again, asked), cosines)
    assert judged((one, other), (asked, again), cosines) == turned


@given(ANSWERS, ANSWERS, QUESTIONS, QUESTIONS, COSINES, st.floats(0, 1), st.floats(0, 1))
def test_more_alike_is_never_less_the_same(
    one: str, other: str, asked: str, again: str, cosines: Cosines, nearer: float, closer: float
) -> None:
    more = replace(
        cosines,
        questions=min(1.0, cosines.questions + nearer),
        answers=min(1.0, cosines.answers + closer),
    )
    before, after = (judged((one, other), (asked, again), c) for c in (cosines, more))
    order = ("different", "open", "same")
    assert order.index(after) >= order.index(before)


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        ([], "open"),
        (["open", "open"], "open"),
        (["same", "open", "open"], "same"),
        (["different", "open"], "different"),
        (["same", "same", "different"], "same"),
        (["same", "different"], "open"),
        (["same", "different", "different"], "open"),
        (["same", "different", "different", "different"], "different"),
    ],
)
def test_a_group_is_told_by_its_members(listed: list[Outcome], wanted: Outcome) -> None:
    assert majority(listed) == majority(listed[::-1]) == wanted


def test_a_wording_that_lies_far_is_outweighed_by_one_that_is_near() -> None:
    fresh = exchange(CAPITAL, PARIS)
    near = stored(AGAIN, "Paris is France's capital; it lies on the Seine.")
    open_ = stored(AGAIN, "It is the city on the Seine.", Cosines(0.9, 0.5))
    assert verdict(fresh, [open_, near], ENGLISH) == "same"
    assert verdict(fresh, [open_], ENGLISH) == "open"
    assert verdict(fresh, [], ENGLISH) == "open"


def test_an_answer_joins_the_surest_group_and_else_founds_its_own() -> None:
    fresh = exchange(CAPITAL, PARIS)
    close = stored(AGAIN, PARIS, Cosines(0.9, 0.90), group="close")
    closer = stored(AGAIN, PARIS, Cosines(0.9, 0.97), group="closer")
    assert assign(fresh, [close, closer], ENGLISH) == "closer"
    assert assign(fresh, [stored(AGAIN, PARIS, Cosines(0.9, 0.2))], ENGLISH) is None
    assert assign(fresh, [], ENGLISH) is None
    parted = stored(AGAIN, PARIS, Cosines(0.9, 0.97, parted=True))
    assert assign(fresh, [parted], ENGLISH) is None


def test_a_group_is_not_joined_where_the_label_is_doubtful() -> None:
    """A template with another name in it: alike as texts, and it serves another question."""
    questions = ("How do I lock my card?", "How do I unlock my card?")
    fresh = exchange(questions[0], "Open the app, choose the card and press Lock.")
    other = stored(
        questions[1], "Open the app, choose the card and press Unlock.", Cosines(0.9, 0.97)
    )
    assert outcome(fresh, other, ENGLISH) != "same"
    far = replace(other, cosines=Cosines(0.5, 0.4, lean=0.3))
    assert assign(fresh, [far], ENGLISH) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wait 3 days for the card.", "Wait 5 days for the card."),
        ("Yes, you can do that.", "No, you can not do that."),
        ("It costs 20 dollars.", "It costs 30 dollars."),
    ],
)
def test_two_texts_that_differ_in_a_figure_or_a_denial_do_not_say_the_same(
    one: str, other: str
) -> None:
    read = [ENGLISH.profile(text) for text in (one, other)]
    assert same_text(0.95, *read) < comparison.SAME


def test_two_wordings_of_one_text_say_the_same() -> None:
    one, other = "The capital of France is Paris.", "Paris is the capital of France."
    assert same_text(0.93, ENGLISH.profile(one), ENGLISH.profile(other)) > comparison.SURE
