"""Past calls of a log become answers that the same requests find."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from cacheserver.transfer.logs import ANYBODY, read_logs
from cacheserver.transfer.records import Problem
from tests.house import House, came_from
from tests.transfer.imports import REQUEST, SYSTEM, begun, send

MESSAGE: dict[str, Any] = {
    "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": "Lima."}], "stop_reason": "end_turn",
    "stop_sequence": None, "usage": {"input_tokens": 12, "output_tokens": 4},
}  # fmt: skip


def line(question: str, at: float, **changed: Any) -> str:
    body = {**REQUEST, "messages": [{"role": "user", "content": question}]}
    fields = {"timestamp": at, "request": body, "response": MESSAGE, **changed}
    return json.dumps(fields) + "\n"


async def test_calls_of_a_log_are_answered_until_they_are_too_old(
    house: House, tmp_path: Path
) -> None:
    now = house.parts.clock()
    log = tmp_path / "log.jsonl"
    log.write_text(
        line("Capital of Peru?", now - 86_400)
        + line("Capital of Chile?", now - 100, response={**MESSAGE, "stop_reason": "max_tokens"})
        + line("Capital of Cuba?", now - 100, headers={"anthropic-version": "2023-06-01"})
        + "not json\n"
    )
    found = list(read_logs([log]))
    problems = [one for one in found if isinstance(one, Problem)]
    records = [one for one in found if not isinstance(one, Problem)]
    assert [one.where for one in problems] == ["log.jsonl:4"]
    key = await house.key("shop")
    job = await begun(house, kind="calls", curated=False, request=None)
    got = await send(house, job, records, request=None)
    assert got.json()["batch"] == {"stored": 2, "refused": 1}, got.text
    hit = await house.ask("Capital of Peru?", key=key, system=SYSTEM)
    assert came_from(hit)[0] == "exact"
    assert int(hit.headers["x-cache-age"]) >= 86_400
    house.clock.ahead_s = 29.5 * 86_400
    assert came_from(await house.ask("Capital of Peru?", key=key, system=SYSTEM))[0] == "miss"


async def test_a_call_that_is_too_old_or_to_come_is_refused(house: House) -> None:
    await house.key("shop")
    body = {**REQUEST, "messages": [{"role": "user", "content": "Capital of Peru?"}]}
    records = [
        {"request": body, "message": MESSAGE, "at": at}
        for at in (time.time() - 31 * 86_400, time.time() + 3_600, "now", True, -1)
    ]
    job = await begun(house, kind="calls", curated=False, request=None)
    got = await send(house, job, records, request=None)
    assert got.json()["batch"] == {"refused": 5}, got.text
    for odd in ({"headers": 5}, {"headers": {"anthropic-version": 5}}):
        job = await begun(house, kind="calls", curated=False, request=None)
        got = await send(house, job, [{"request": body, "message": MESSAGE, **odd}], request=None)
        assert got.json()["batch"] == {"refused": 1}, got.text


def test_the_calls_of_one_alone_are_read_from_a_log_that_names_several(tmp_path: Path) -> None:
    log, now = tmp_path / "log.jsonl", time.time()
    log.write_text(
        line("Capital of Peru?", now - 30, tenant="ann")
        + line("What is my name?", now - 20, tenant="bob")
        + line("Capital of Cuba?", now - 10, tenant="ann")
        + line("Capital of Chile?", now - 5)
    )

    def read(asked_by: str | None) -> tuple[list[str], list[str]]:
        found = list(read_logs([log], asked_by=asked_by))
        return (
            [one["where"] for one in found if not isinstance(one, Problem)],
            [one.why for one in found if isinstance(one, Problem)],
        )

    assert read(None) == (
        ["log.jsonl:1", "log.jsonl:3"],
        ["2 calls not of `ann`, whose calls are imported"],
    )
    assert read("bob")[0] == ["log.jsonl:2"]
    assert read(ANYBODY) == ([f"log.jsonl:{number}" for number in (1, 2, 3, 4)], [])
