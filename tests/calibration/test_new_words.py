"""A server that has learned easy questions meets others about the same things."""

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
    "Ring reception: towels come within ten minutes.": (
        *("get more towels", "ask for fresh towels", "request extra towels", "have new towels"),
    ),
    "Reception orders a taxi for you, day and night.": (
        *("order a taxi", "book a taxi", "call a taxi", "get a taxi to the airport"),
    ),
    "Dogs stay for ten euros; tell us their size.": (
        *("bring my dog", "stay with a dog", "take my dog with me", "check in with my dog"),
    ),
    "The room key opens the gym from six to ten.": (
        *("use the gym", "work out in the gym", "get into the gym", "enter the gym"),
    ),
}
FRAMES = (
    *("How do I {}?", "How can I {}?", "I want to {}, how?", "What do I do to {}?"),
    *("Tell me how to {}", "Is there a way to {}?", "I need to {}", "Can you help me {}?"),
    *("Could you tell me how to {}?", "What is the way to {}?", "Where do I {}?"),
    "I would like to {}",
)
# Without a measure of new words four to six of these are served.
NEAR = (
    *("How do I return towels?", "How do I buy towels?", "How do I wash towels?"),
    *("How do I pay the taxi?", "How do I share a taxi?", "How do I cancel a taxi?"),
    *("How do I walk my dog?", "How do I leave my dog alone?", "How do I feed my dog?"),
    *("How do I clean the gym?", "How do I rent the gym?", "How do I find a gym trainer?"),
)


def answering(body: Mapping[str, Any]) -> Directives:
    text = str(body["messages"][-1]["content"])
    return by_intent(text, INTENTS)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=answering, similarity=None) as house:
        yield house


async def test_a_word_that_nobody_said_is_not_served_what_others_got(house: House) -> None:
    bar = {"target": 0.01, "audit_share": 1.0}
    path = "/admin/v1/tenants/default/bars"
    assert (await house.http.put(path, headers=ADMIN, json={"bar": bar})).status_code == 200
    easy = [frame.format(deed) for deeds in INTENTS.values() for deed in deeds for frame in FRAMES]
    Random(3).shuffle(easy)
    for question in easy:
        await house.ask(question)
        await house.parts.calibration.learner.idle()

    lookup = {"cache-control": "only-if-cached"}
    own = [f"Please help me to {deed}" for deeds in INTENTS.values() for deed in deeds]
    served = [await house.ask(question, headers=lookup) for question in own]
    near = [came_from(await house.ask(question)) for question in NEAR]
    assert [answer.headers["x-cache"] for answer in served].count("semantic") >= len(own) * 0.8
    assert {kind for kind, _ in near} == {"miss"}
    assert "unsupported" in {reason for _, reason in near}
