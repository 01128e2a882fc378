"""A server that has learned easy questions meets questions about something else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cacheserver.simulated import Directives
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
}
FRAMES = (
    *("How do I {}?", "How can I {}?", "I want to {}, how?", "What do I do to {}?"),
    *("Tell me how to {}", "Is there a way to {}?", "I need to {}", "Can you help me {}?"),
    *("Where do I {}?", "What are the steps to {}?", "I would like to {}", "How would I {}?"),
)
OWN = ("Please help me to {}", "I am trying to {}")  # frames that come last
ELSE = (
    *("What is the capital of Peru?", "How long do I boil rice?", "Write a haiku about snow"),
    *("My television does not start", "Are you hiring engineers?", "Translate moon into Greek"),
    *("How many legs has a spider?", "Who runs this place?", "Can I bring my dog?"),
    *("Is the cafe open on Sunday?", "Where do I park my bicycle?", "The heating is too loud"),
    *("How do I delete my account?", "Do you sell headphones?", "What does the tour cost?"),
)


JUST = "Reply with just: OK"
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
    for answer, deeds in INTENTS.items():
        if any(deed in text for deed in deeds):
            return Directives(text=answer)
    return Directives(text=f"That is another matter: {text}")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=answering, similarity=None) as house:
        yield house


async def _teach(house: House) -> None:
    """Ask the easy questions, each hit a label."""
    bar = {"target": 0.01, "audit_share": 1.0}
    path = "/admin/tenants/default/bars"
    assert (await house.http.put(path, headers=ADMIN, json={"bar": bar})).status_code == 200
    easy = [frame.format(deed) for deeds in INTENTS.values() for deed in deeds for frame in FRAMES]
    Random(3).shuffle(easy)
    for question in easy:
        await house.ask(question)
        await house.parts.learner.idle()


async def test_easy_questions_do_not_have_others_served(house: House) -> None:
    await _teach(house)
    state, needed = await _barred(house)
    assert not state.young
    assert needed.level >= needed.floor == pytest.approx(0.9)

    served = []
    for deeds in INTENTS.values():
        for deed in deeds:
            for frame in OWN:
                answer = await house.ask(frame.format(deed))
                served.append(came_from(answer)[0] == "semantic")
    others = [came_from(await house.ask(question)) for question in ELSE]
    assert sum(served) >= len(served) / 2
    assert {kind for kind, _ in others} == {"miss"}
    assert {reason for _, reason in others} <= {"improbable", "unsupported", "vetoed"}


async def test_one_word_that_many_questions_ask_for_moves_nobody_elses_decision(
    house: House,
) -> None:
    await _teach(house)
    own = [OWN[0].format(deed) for deeds in INTENTS.values() for deed in deeds]
    before = [await _looked_up(house, question) for question in (*own, *ELSE)]
    assert before.count("semantic") >= len(own) / 2
    assert "semantic" not in before[len(own) :]
    for want in WANTS:
        for topic in TOPICS:
            await house.ask(f"Please {want} {topic}. {JUST}")
            await house.parts.learner.idle()
    assert [await _looked_up(house, question) for question in (*own, *ELSE)] == before


async def _looked_up(house: House, question: str) -> str:
    """Look a question up; nothing is asked of Claude or stored."""
    answer = await house.ask(question, headers={"cache-control": "only-if-cached"})
    return str(answer.headers["x-cache"])


async def _barred(house: House) -> Any:
    states = house.parts.feedback._states
    (scope,) = {scope for _, scope in states._scopes}
    return await states.barred("default", scope, 0.01)
