"""Similar questions that are asked at once: all but the first wait, then are decided as always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cacheserver.core.single_flight import end
from cacheserver.simulated import Directives
from tests.house import House, came_from
from tests.peers.four_servers import ask_all, kinds, slowly, until

ASKED = "How do I reset my password?"
SPELLED = (
    "how do i reset my password",
    "How do I reset my password",
    "HOW DO I RESET MY PASSWORD?",
    "Please, how do I reset my password?",
    "How do I reset my password? Thanks!",
    "Hello! How do I reset my password?",
    "how do I reset my password??",
    "Could you please tell me: how do I reset my password?",
)
OTHERS = ("How do I delete my account?", "What is the capital of France?")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=slowly) as found:
        yield found


def under_way(house: House) -> int:
    return sum(map(len, house.parts.service._similar_calls._scopes.values()))


async def test_similar_questions_asked_at_once_are_one_call(house: House) -> None:
    answers = await ask_all([house], [ASKED, *SPELLED] * 12)
    assert len(house.asked) <= 2  # a courtesy that the embedder makes much of may be its own
    assert kinds(answers)["miss"] == len(house.asked)
    assert under_way(house) == 0


async def test_who_has_waited_is_served_as_by_any_stored_answer(house: House) -> None:
    first = asyncio.create_task(house.ask(ASKED))
    await until(lambda: len(house.asked) == 1)
    second = await house.ask(SPELLED[0])
    assert (await first).headers["x-cache"] == "miss"
    assert came_from(second)[0] == "semantic"
    assert second.headers["x-cache-similarity"]
    assert (len(house.asked), under_way(house)) == (1, 0)


async def test_other_questions_wait_for_nobody(house: House) -> None:
    answers = await ask_all([house], [ASKED, *OTHERS])
    assert kinds(answers) == {"miss": 3}
    assert len(house.asked) == 3


async def test_a_stream_waits_too_and_its_question_ends_with_its_call(house: House) -> None:
    streams = [house.ask(text, stream=True) for text in (ASKED, SPELLED[0])]
    answers = await asyncio.gather(*streams)
    assert kinds(list(answers)) == {"miss": 1, "semantic": 1}
    assert (len(house.asked), under_way(house)) == (1, 0)


async def test_tenants_never_wait_for_each_other(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    answers = await asyncio.gather(house.ask(ASKED, key=one), house.ask(SPELLED[0], key=two))
    assert kinds(list(answers)) == {"miss": 2}


@pytest.mark.parametrize("headers", [{"cache-control": "no-store"}, {"x-cache-ttl": "0"}])
async def test_nobody_waits_for_what_will_not_be_stored(
    house: House, headers: dict[str, str]
) -> None:
    first = asyncio.create_task(house.ask(ASKED, headers=headers))
    await until(lambda: len(house.asked) == 1)
    assert under_way(house) == 0
    assert came_from(await house.ask(SPELLED[0]))[0] == "miss"
    await first


async def test_a_raised_bar_is_the_bar_of_waiting(tmp_path: Path) -> None:
    async with House.open(tmp_path, claude=slowly, similarity=0.9999) as house:
        answers = await ask_all([house], [ASKED, "How can I reset my password?"])
        assert kinds(answers) == {"miss": 2}


async def test_if_the_answer_is_not_stored_those_who_waited_ask_for_themselves(
    tmp_path: Path,
) -> None:
    stops = iter(["max_tokens"])

    def claude(body: object) -> Directives:
        return replace(slowly(body), stop=next(stops, None))

    async with House.open(tmp_path, claude=claude) as house:
        first = asyncio.create_task(house.ask(ASKED))
        await until(lambda: len(house.asked) == 1)
        second = await house.ask(SPELLED[0])
        assert came_from(await first)[0] == came_from(second)[0] == "miss"
        assert (len(house.asked), under_way(house)) == (2, 0)


async def test_a_wait_is_bounded(tmp_path: Path) -> None:
    async with House.open(tmp_path, claude=slowly) as house:
        house.parts.service._similar_calls._wait_s = 0.05
        answers = await ask_all([house], [ASKED, SPELLED[0]])
        assert kinds(answers) == {"miss": 2}
        assert under_way(house) == 0


async def test_who_leaves_while_waiting_is_settled(house: House) -> None:
    first = asyncio.create_task(house.ask(ASKED))
    await until(lambda: len(house.asked) == 1)
    waiting = asyncio.create_task(house.ask(SPELLED[0]))
    await asyncio.sleep(0.1)
    await end(waiting)
    assert (await first).status_code == 200
    assert under_way(house) == 0
