"""Bodies that are work: none of them holds the loop for a quarter of a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cacheserver.api.body import MAX_VALUES, parse
from cacheserver.core.errors import TooLarge
from cacheserver.english.language import english
from cacheserver.matching.question_text import matched_text
from tests.hostile.claude import MESSAGE, scripted
from tests.hostile.lag import lag, within
from tests.hostile.raw import body_of
from tests.house import ADMIN_KEY, House, came_from

HELD_S = 0.25
# What holds the loop does so each time; what a busy machine adds, it does not add each time. Each
# try asks something else, since the answer to the same is stored.
TRIES = range(3)
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
        for n in TRIES:
            raw = json.dumps(body_of(f"{n}{text}")).encode()
            async with lag() as seen:
                await house.http.post("/v1/messages", content=raw, headers={"x-api-key": "any"})
            house.upstream.reset()
            if seen.longest_s < within(HELD_S):
                break
        else:
            pytest.fail(f"{what}: {seen.longest_s}")
    assert came_from(await house.ask())[0] == "exact"


def _many(word: str) -> dict[str, tuple[str, bytes]]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": word} for n in range(99_999)]
    blocks = [{"type": "text", "text": word} for _ in range(150_000)]

    def asked(**fields: Any) -> bytes:
        return json.dumps({**body_of(word), **fields}).encode()

    crowd = b'{"body":[' + b"[]," * 8_000_000 + b"1]}"
    item = {"body": {"messages": [{"role": "user", "content": word}] * 200}, "expected": "y"}
    gold = "/admin/v1/routing/default/gold/extraction"
    labels = "/admin/v1/labels/import?tenant=default"
    return {
        "messages": ("/v1/messages", asked(messages=turns)),
        "messages of auto": ("/v1/messages", asked(messages=turns, model="auto")),
        "messages, streamed": ("/v1/messages", asked(messages=turns, stream=True)),
        "messages of a question": ("/v1/query", json.dumps({"messages": turns}).encode()),
        "messages to lint": ("/v1/lint", asked(messages=turns)),
        "blocks": ("/v1/messages", asked(messages=[{"role": "user", "content": blocks}])),
        "blocks of a system prompt": ("/v1/messages", asked(system=blocks, model="auto")),
        "gold, a line": (gold, crowd),
        "gold, lines": (gold, b"\n" * 20_000_000),
        "gold, items": (gold, b"\n".join([json.dumps(item).encode()] * 500)),
        "labels, a line": (labels, crowd),
        "labels, lines": (labels, b"\r\n" * 10_000_000),
    }


async def test_no_crowd_holds_the_loop(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.body = json.dumps(MESSAGE).encode()
        await house.ask()
        held: dict[str, float] = {}
        for n in TRIES:
            for what, (path, raw) in _many(f"x{n}").items():
                if n and what not in held:
                    continue
                method = "PUT" if path.endswith("extraction") else "POST"
                key = {"authorization": f"Bearer {ADMIN_KEY}"} if path.startswith("/admin") else {}
                async with lag() as seen:
                    answer = await house.http.request(method, path, content=raw, headers=key)
                assert answer.status_code in (200, 400, 413), (what, answer.text)
                held.pop(what, None)
                if seen.longest_s >= within(HELD_S):
                    held[what] = seen.longest_s
            if not held:
                break
        assert not held
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
    assert matched_text("word " * 10_000, english()) == (None, "window")
    assert matched_text("What is it?", english())[0] == "What is it?"
