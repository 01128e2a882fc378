"""Twins: one question in another frame, and what only looks like it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.policy import evidence, profile, shells
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
        ("What is the way to reset it?", "how can I reset it"),
        ("Can you tell me where my order is?", "Where is my order?"),
        ("Tell me what the capital of Peru is", "What is the capital of Peru?"),
        ("I was wondering if I can park here", "Can I park here?"),
        ("I can't log in.", "I cannot log in"),
        ("Can you tell me when I can park here?", "When can I park here?"),
        ("What's the word for dog in French?", "What is the word for dog in French?"),
        ("Could you kindly send a copy?", "Could you please send a copy?"),
        ("How do I translate a page? Thanks", "How can I translate a page? Thanks"),
        ("How do I delete this message? Thanks", "How do I delete this message?"),
        ("Hi team, how do I pay? Many thanks!", "How do I pay?"),
        ("Is 1,500 g for two enough?", "Is 1500 g for 2 enough?"),
        ("Can I reqest a repeat perscription?", "Can I request a repeat prescription?"),
        ("¿Dónde está mi paquete?", "¿dónde está mi paquete?"),
        ("Wo ist mein Paket", "Wo ist mein Paket?"),
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
        ('What does "the end" mean?', 'What does "end" mean?'),
        ("Do you ship from Canada?", "Do you ship to Canada?"),
        ("Did you call me?", "Did I call you?"),
        ("Who is the owner?", "Who was the owner?"),
        ("Is it -10?", "Is it 10?"),
        ("What does ?. do?", "What does ?? do?"),
        ("Does it suit us?", "Does it suit US?"),
        ("Is it not safe to eat?", "Is it safe not to eat?"),
        ("मेरा कम कहाँ है?", "मेरा काम कहाँ है?"),
        ("How do I look?", "How can I look?"),
        ("Is a few enough?", "Is few enough?"),
        ("Is team a better than team b?", "Is team better than team b?"),
        ("Who's called?", "Who is called?"),
        ("Explain 5!", "Explain 5"),
        ("Voy a casa", "Voy casa"),
        ("Tu viens.", "Tu viens ?"),
        ("Is Dr. No good?", "Is Dr. no good?"),
        ("Why do people give thanks?", "Why do people give?"),
        ("Translate into German: How are you? Many thanks", "Translate into German: How are you?"),
        ("Hi, how are you? Translate it into German", "How are you? Translate it into German"),
        ("Is this email polite? Send it, please", "Is this email polite? Send it"),
        ("How do you say yes, please", "How do you say yes"),
        ("Which is politer: ok, sure, please?", "Which is politer: ok, sure?"),
        ("So what?", "What?"),
        ("What is the way to work?", "How do I work?"),
        ("Tell me when you are ready", "When are you ready?"),
        ("How do I kindly decline it?", "How do I decline it?"),
        ("Can I please everyone?", "Can I everyone?"),
        ("How many letters are in twelve?", "How many letters are in 12?"),
        ("How do I come across?", "How can I come across?"),
        ("Who sings Thank You?", "Who sings?"),
        ("Classify the sentiment. It broke. Thanks a lot", "Classify the sentiment. It broke."),
        ("Do I sign with love, best regards", "Do I sign with love"),
        ("Is don't one word?", "Is do not one word?"),
        ("Is the the most common word?", "Is the most common word?"),
        ("When do I use the before a name?", "When do I use before a name?"),
        ("What is in front of the car?", "What is in the front of the car?"),
    ],
)
def test_a_word_that_matters_makes_another(one: str, other: str) -> None:
    assert not twins(one, other)


@pytest.mark.parametrize(
    "part", ["a. ", "hi. ", "this email ", "say ", "sentence ", ": ", "translate. ", "thanks. "]
)
def test_courtesy_is_found_in_linear_time(part: str) -> None:
    long = part * 8_000 + ", thanks"
    began = time.process_time()
    shells.within(long)
    assert time.process_time() - began < 1  # 0.02 s; in quadratic time it took ten


PARTS = (
    "Hi team , how do can would I to you what is what's the a an not don't please only from "
    "reqest request US us 10 -10 ? ! . tell me where know thanks Thanks é e\u0336 café"
)
SAID = st.lists(st.sampled_from(PARTS.split()), max_size=10).map(" ".join) | st.text(max_size=20)


@given(SAID)
def test_a_question_is_its_own_twin(text: str) -> None:
    if profile.read(text, LEXICON).form:
        assert twins(text, text)


@given(SAID, SAID, SAID)
def test_twins_of_a_canonical_form_are_twins_of_each_other(a: str, b: str, c: str) -> None:
    forms = [(p.form, p.spans) for p in (profile.read(text, LEXICON) for text in (a, b, c))]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        if forms[one] == forms[other] and forms[one][0]:
            assert twins((a, b, c)[one], (a, b, c)[other])


@given(SAID, st.sampled_from(("from", "to", "only", "not", "US", "-10", "été", "was")), st.data())
def test_a_word_that_matters_put_in_makes_another_question(
    text: str, word: str, data: st.DataObject
) -> None:
    words = text.split()
    at = data.draw(st.integers(0, len(words)))
    assert not twins(text, " ".join([*words[:at], word, *words[at:]]))
