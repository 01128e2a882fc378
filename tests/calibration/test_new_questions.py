"""A server that has learned easy questions meets questions about something else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cacheserver.simulated import Directives
from tests.calibration.intents import by_intent
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
INTENTS = {
    "Loans are renewed under My loans, for three weeks.": (
        *("renew my library loan", "extend my library loan", "keep a library book longer"),
        "renew my library books",
    ),
    "Pay fines at the desk by the entrance, with a card.": (
        *("pay my library fine", "pay the library fee for a late book", "settle my late fee"),
        "pay a late return fine",
    ),
    "Reading rooms are booked at the kiosk on floor two.": (
        *("book a reading room", "reserve a reading room", "get a quiet room for reading"),
        "book a group reading room",
    ),
    "Library cards are made in ten minutes; bring a passport.": (
        *("get a library card", "apply for a library card", "sign up for a library card"),
        "become a member of the library",
    ),
    "Printing costs ten cents a page, at the machine beside the stairs.": (
        *("print a page at the library", "use the library printer", "print out my document"),
        "get something printed",
    ),
    "Reserve a title in the catalogue; it waits for you for a week.": (
        *("reserve a title", "put a hold on a novel", "place a hold on a title"),
        "hold a novel that is out",
    ),
    "The reading club signs up newcomers by mail, until Friday.": (
        *("join the reading club", "enter the book club", "take part in the reading club"),
        "be part of the book club",
    ),
    "Tap Forgotten PIN in the app and follow the mail.": (
        *("reset my library PIN", "change the PIN of my account", "get a new PIN"),
        "recover a forgotten PIN",
    ),
}
FRAMES = (
    *("How do I {}?", "How can I {}?", "I want to {}, how?", "What do I do to {}?"),
    *("Tell me how to {}", "Is there a way to {}?", "I need to {}", "Can you help me {}?"),
    *("Where do I {}?", "What are the steps to {}?", "I would like to {}", "How would I {}?"),
    *("What is the way to {}?", "Could you tell me how to {}?"),
)
OWN = ("Please help me to {}", "I am trying to {}")  # frames that come last
SHUT = next(iter(INTENTS))  # the answer that is called bad
ELSE = (
    *("What is the capital of Peru?", "How long do I boil rice?", "Write a haiku about snow"),
    *("My television does not start", "Are you hiring engineers?", "Translate moon into Greek"),
    *("How many legs has a spider?", "Who runs this place?", "Can I bring my dog?"),
    *("Is the cafe open on Sunday?", "Where do I park my bicycle?", "The heating is too loud"),
    *("How do I delete my account?", "Do you sell headphones?", "What does the tour cost?"),
    *("Is there wifi on the trains?", "My parcel came broken", "Can children use the pool?"),
    *("Why is the sky blue at noon?", "Who won the match last night?"),
)
REVIEWERS = (
    "She praised",
    "He returned",
    "The guests disliked",
    "A neighbour gave away",
    "They miss",
)
GOODS = (
    "the blue kettle",
    "that tent",
    "the first lamp",
    "a wool scarf",
    "the toaster",
    "this clock",
)
REASONS = (
    "for its size",
    "after two weeks",
    "because of the smell",
    "at a fair price",
    "in spring",
)


JUST = "Reply with just: OK"
SHORT = "Is the writer angry, yes or no?"
WANTS = (
    "describe",
    "explain",
    "praise",
    "sum up",
    "draw",
    "compare",
    "date",
    "rank",
    "sing",
    "name",
)
TOPICS = (
    *("the moons of Saturn", "a sourdough starter", "the Suez canal", "knitting a sock"),
    *("Roman roads", "the tides", "beekeeping", "a fugue by Bach", "chess openings", "old verbs"),
)


def answering(body: Mapping[str, Any]) -> Directives:
    text = str(body["messages"][-1]["content"])
    if text.endswith(JUST):
        return Directives(text="OK")
    if text.startswith(SHORT):
        return Directives(text="No.")
    return by_intent(text, INTENTS)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=answering, similarity=None) as house:
        yield house


async def _audit_all(house: House) -> None:
    """Make a label of each hit."""
    bar = {"target": 0.01, "audit_share": 1.0}
    path = "/admin/v1/tenants/default/bars"
    assert (await house.http.put(path, headers=ADMIN, json={"bar": bar})).status_code == 200


async def _teach(house: House, intents: int = len(INTENTS)) -> tuple[int, int]:
    """Ask the easy questions of so many intents. How many were hits, and how many wrong ones."""
    await _audit_all(house)
    taught = dict(list(INTENTS.items())[:intents])
    easy = [
        (frame.format(deed), answer)
        for answer, deeds in taught.items()
        for deed in deeds
        for frame in FRAMES
    ]
    Random(3).shuffle(easy)
    hits = wrong = 0
    for question, right in easy:
        answer = await house.ask(question)
        await house.parts.calibration.learner.idle()
        if came_from(answer)[0] == "semantic":
            hits += 1
            wrong += answer.json()["content"][0]["text"] != right
    return hits, wrong


async def test_easy_questions_do_not_have_others_served(house: House) -> None:
    hits, wrong = await _teach(house)
    assert hits >= 300
    assert wrong == 0
    state, needed = await _barred(house)
    assert not state.cold_start
    assert needed.level >= needed.floor == pytest.approx(0.9)

    own = [frame.format(deed) for deeds in INTENTS.values() for deed in deeds for frame in OWN]
    served = [await _looked_up(house, question) for question in own]
    assert served.count("semantic") >= len(own) / 2
    assert len(ELSE) == 20
    assert {await _looked_up(house, question) for question in ELSE} == {"miss"}
    reasons = {came_from(await house.ask(question))[1] for question in ELSE}
    assert reasons <= {"improbable", "below-bar", "unsupported", "vetoed"}


async def test_one_short_answer_to_all_prompts_is_no_answer_to_others(house: House) -> None:
    """Nor does it teach anything: a classifier's "No." is the same whatever it is asked."""
    await _audit_all(house)
    reviews = [f"{who} {what} {why}." for who in REVIEWERS for what in GOODS for why in REASONS]
    Random(3).shuffle(reviews)
    for review in reviews[:40]:
        answer = await house.ask(f'{SHORT} "{review}"')
        assert answer.json()["content"][0]["text"] == "No."
        await house.parts.calibration.learner.idle()
    assert {await _looked_up(house, question) for question in ELSE} == {"miss"}
    state, _ = await _barred(house)
    assert state.labels == ()


async def test_a_dry_run_foresees_nothing_of_an_answer_that_is_shut(house: House) -> None:
    await _teach(house, intents=4)
    deeds = INTENTS[SHUT]
    hits = [await house.ask(frame.format(deed)) for frame in OWN for deed in deeds]
    assert {came_from(one)[0] for one in hits} == {"semantic"}
    await house.parts.calibration.learner.idle()
    before = await _tried(house, {"target": 0.02})
    assert "closed" not in {one["reason"] for one in before["questions"]["items"]}

    for one in hits:
        bad = {"verdict": "bad", "decision_id": one.headers["x-cache-decision"]}
        assert (await house.http.post("/v1/feedback", json=bad)).status_code == 200
    after = await _tried(house, {"target": 0.02})
    closed = [one for one in after["questions"]["items"] if one["reason"] == "closed"]
    assert len(closed) >= len(hits)
    for one in closed:
        assert one["change"] == "ends"
        assert any(deed in one["asked"] for deed in deeds)
    gone = after["replayed"]["hits_before"] - after["replayed"]["hits_after"]
    assert gone >= before["replayed"]["hits_before"] - before["replayed"]["hits_after"] + len(hits)
    assert all(
        one["reason"] == "probable"
        for one in after["questions"]["items"]
        if one["change"] == "begins"
    )


async def _tried(house: House, bar: dict[str, Any]) -> Any:
    path = "/admin/v1/tenants/default/bars"
    tried = await house.http.put(path, headers=ADMIN, json={"bar": bar, "dry_run": True})
    return tried.json()["would_have"]


async def test_one_word_that_many_questions_ask_for_moves_nobody_elses_decision(
    house: House,
) -> None:
    await _teach(house, intents=4)
    own = [OWN[0].format(deed) for deeds in list(INTENTS.values())[:4] for deed in deeds]
    before = [await _looked_up(house, question) for question in (*own, *ELSE)]
    assert before.count("semantic") >= len(own) / 2
    assert "semantic" not in before[len(own) :]
    for want in WANTS:
        for topic in TOPICS:
            await house.ask(f"Please {want} {topic}. {JUST}")
            await house.parts.calibration.learner.idle()
    assert [await _looked_up(house, question) for question in (*own, *ELSE)] == before


async def _looked_up(house: House, question: str) -> str:
    """Look a question up; nothing is asked of Claude or stored."""
    answer = await house.ask(question, headers={"cache-control": "only-if-cached"})
    return str(answer.headers["x-cache"])


async def _barred(house: House) -> Any:
    states = house.parts.calibration.feedback._states
    (scope,) = {scope for _, scope in states._scopes}
    return await states.with_bar("default", scope, 0.01)
