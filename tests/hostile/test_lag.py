"""Bodies that are work: none of them holds the loop for a quarter of a second."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cacheserver.api.body import MAX_VALUES, parse
from cacheserver.errors import TooLarge
from cacheserver.policy.question_text import matched_text
from tests.hostile.lag import lag
from tests.hostile.raw import body_of
from tests.house import House, came_from

HELD_S = 0.25
MEGABYTE = 1_000_000

TEXTS = {
    "one letter, 30 MB": "a" * 30 * MEGABYTE,
    "blanks, 30 MB": " " * 30 * MEGABYTE,
    "words": "What is it, really? " * 50_000,
    "brackets": "(" * MEGABYTE,
    "signs": "'" * MEGABYTE,
    "assignments": "a = " * 250_000,
    "line ends": "x \n" * 300_000,
    "marks over letters": "a" + "\u0301\u0323" * 200_000,
    "times of day": "at 12:00 today, " * 60_000,
    "just short of the window": "f(" * 16_000,
}


@pytest.fixture
async def house(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async with House.open(tmp_path_factory.mktemp("lag")) as house:
        yield house


async def test_no_text_holds_the_loop(house: House) -> None:
    await house.ask()
    for what, text in TEXTS.items():
        raw = json.dumps(body_of(text)).encode()
        async with lag() as seen:
            await house.http.post("/v1/messages", content=raw, headers={"x-api-key": "any"})
        house.upstream.reset()
        assert seen.longest_s < HELD_S, (what, seen.longest_s)
    assert came_from(await house.ask())[0] == "exact"


CROWDS = {
    "messages": b'{"messages":[' + b'{"role":"user","content":"x"},' * 900_000 + b"1]}",
    "lists": b'{"x":[' + b"[]," * 5_000_000 + b"1]}",
    "numbers": b'{"x":[' + b"1," * 5_000_000 + b"1]}",
    "blanks between": b'{"x":[' + b"1 , " * 2_000_000 + b"1]}",
    "behind a text": b'{"t":"' + b'\\"' * 1_000_000 + b'","x":[' + b"{}," * 2_000_000 + b"1]}",
}


@pytest.mark.parametrize("what", sorted(CROWDS))
def test_more_values_than_anybody_sends_are_refused_before_they_are_made(what: str) -> None:
    with pytest.raises(TooLarge, match="values"):
        parse(CROWDS[what])


@pytest.mark.parametrize("text", ["1,2," * 1_000_000, '{"a":[' * 500_000, '\\",[' * 400_000])
def test_what_is_in_a_text_is_no_value(text: str) -> None:
    body = {"text": text, "list": [1] * (MAX_VALUES - 10)}
    assert parse(json.dumps(body).encode()) == body


def test_a_text_that_no_embedder_reads_is_exact_only() -> None:
    assert matched_text("word " * 10_000) == (None, "window")
    assert matched_text("What is it?")[0] == "What is it?"
