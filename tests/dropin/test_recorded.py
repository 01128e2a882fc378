"""Frameworks through the front door: what their requests are, as recorded, and that they hit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.house import House, came_from

Request = Mapping[str, Any]

# Messages, streams, tools, structured output and agents of the programs in docs/integrations.md, in
# the order they were sent, without repeats. `first` is what `x-cache` was.
RECORDED: Mapping[str, Sequence[Request]] = {
    path.stem: json.loads(path.read_text())["requests"]
    for path in (Path(__file__).parent / "recorded").glob("*.json")
}


async def send(house: House, request: Request) -> str:
    answer = await house.http.post(
        request["path"], json=request["body"], headers={**request["headers"], "x-api-key": "x"}
    )
    assert not request["body"].get("stream") or "event: message_stop" in answer.text
    return came_from(answer)[0]


@pytest.mark.parametrize("framework", sorted(RECORDED))
async def test_the_second_run_is_served_from_the_cache(house: House, framework: str) -> None:
    requests = RECORDED[framework]
    first = [await send(house, request) for request in requests]
    assert first == [request["first"] for request in requests]
    asked = len(house.asked)
    second = [await send(house, request) for request in requests]
    # A reworded question is no repeat of itself: its answer is another question's each time.
    assert second == ["semantic" if one == "semantic" else "exact" for one in first]
    assert len(house.asked) == asked == first.count("miss")


@pytest.mark.parametrize("framework", sorted(RECORDED))
async def test_another_word_before_the_question_is_another_request(
    house: House, framework: str
) -> None:
    request = RECORDED[framework][0]
    await send(house, request)
    for field, value in (("system", "Answer in French."), ("max_tokens", 7)):
        other = {**request, "body": {**request["body"], field: value}}
        assert await send(house, other) == "miss"
