"""A thousand requests at once, of two tenants, with everything going wrong that can.

The schedule is drawn from a seed; what the machine makes of it is not, and must hold all the same.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache.store.codec import unpack_entry
from cacheserver.claude import sse
from tests.hostile.moody import END, Moody
from tests.hostile.raw import body_of, outcomes, request, stats, under_way, until, wire
from tests.house import House, serving

REQUESTS, AT_ONCE, SLOTS = 1_000, 48, 16
PLACES = ("France", "Japan", "Kenya", "Peru", "Norway", "Egypt", "Canada", "Vietnam", "Cuba")
SPELLINGS = ("What is the capital of {}?", "What's the capital of {}?")
MOODS = [*["well"] * 12, *["slow"] * 4, "cut", "broken", "hang", "refusal", "long"]
MOODS += ["429", "529", "400"]
CONTROLS = (("", ""),) * 10 + (
    ("cache-control", "no-store"),
    ("cache-control", "no-cache"),
    ("cache-control", "max-age=1"),
    ("cache-control", "only-if-cached"),
    ("x-cache-ttl", "0"),
)


@dataclass(frozen=True)
class Step:
    """One request of the schedule."""

    tenant: str
    namespace: str
    place: str
    spelling: str
    mood: str
    control: tuple[str, str]
    stream: bool
    stays: str  # "to the end"; else the caller leaves at once, after the head or in the middle

    @property
    def whose(self) -> str:
        secret = "secret" if self.control[1] == "no-store" else "shared"
        return f"{self.tenant}/{self.namespace}/{secret}"


def schedule(seed: int) -> list[Step]:
    draw = random.Random(seed)
    stays = ("to the end",) * 9 + ("at once", "after the head", "in the middle")
    return [
        Step(
            tenant=draw.choice(("one", "two")),
            namespace=draw.choice(("default", "other")),
            place=draw.choice(PLACES),
            spelling=draw.choice(SPELLINGS),
            mood=draw.choice(MOODS),
            control=draw.choice(CONTROLS),
            stream=draw.random() < 0.5,
            stays=draw.choice(stays),
        )
        for _ in range(REQUESTS)
    ]


@dataclass
class Seen:
    """What callers saw."""

    answered: int = 0
    left: int = 0
    hits: int = 0


async def take(house: House, step: Step, key: str, seen: Seen) -> None:
    headers = [("x-api-key", key), ("x-cache-namespace", step.namespace)]
    headers += [step.control] if step.control[0] else []
    text = step.spelling.format(step.place)
    metadata = {"whose": step.whose, "mood": step.mood}
    async with wire(house) as caller:
        body = body_of(text, stream=step.stream, metadata=metadata)
        caller.send(request(body, headers=headers))
        if step.stays != "to the end":
            seen.left += 1
            try:
                if step.stays != "at once":
                    await caller.head()
                if step.stays == "in the middle":
                    await caller.reader.read(20)
            except asyncio.IncompleteReadError:
                pass
            caller.hang_up()
            return
        status, head, answered = await caller.answer()
    seen.answered += 1
    assert head["x-cache"] in outcomes_of(status), (status, head)
    if status != 200:
        assert json.loads(answered)["type"] == "error"
        return
    seen.hits += head["x-cache"] in ("exact", "semantic", "coalesced", "stale")
    said = told(answered) if step.stream else json.loads(answered)["content"][0]["text"]
    if said is not None:
        right(step, head["x-cache"], said)


def outcomes_of(status: int) -> tuple[str, ...]:
    if status == 200:
        return ("exact", "semantic", "coalesced", "stale", "miss", "bypass")
    return ("miss", "bypass")


def told(events: bytes) -> str | None:
    """The text of a stream; None where it ended in an error, which must then be its last word."""
    fold = sse.Fold()
    for raw in events.split(b"\n\n"):
        if (event := sse.decode(raw)) is not None:
            assert fold.error is None, "something came after the error"
            fold.feed(event)
    if fold.error is not None:
        return None
    assert fold.complete
    return str(fold.message["content"][0]["text"])


def right(step: Step, kind: str, said: str) -> None:
    """An answer is to this question, and was made for this tenant, namespace and secrecy."""
    whose, question, _, _ = said.split("|")
    assert whose == step.whose
    assert step.place in question
    if kind != "semantic":
        assert question == step.spelling.format(step.place)


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_the_storm_all_is_right_and_accounted_for(tmp_path: Path, seed: int) -> None:
    moody = Moody()
    async with (
        serving(moody) as url,
        House.open(
            tmp_path,
            upstream=url,
            timeout_s=0.5,
            max_concurrent=SLOTS,
            # A quarter of the moods fail and are tried again: the first ten calls may open the
            # circuit breaker before anything is stored, and a storm is over before it closes.
            breaker_calls=AT_ONCE * 2,
        ) as house,
    ):
        keys = {tenant: await house.key(tenant) for tenant in ("one", "two")}
        before = names(asyncio.all_tasks())
        seen, gate = Seen(), asyncio.Semaphore(AT_ONCE)

        async def one(step: Step) -> None:
            async with gate, asyncio.timeout(30):
                await take(house, step, keys[step.tenant], seen)

        async with asyncio.TaskGroup() as storm:
            for step in schedule(seed):
                storm.create_task(one(step))
        await until(lambda: not under_way(house))
        await until(lambda: names(asyncio.all_tasks()) <= before)
        slots = house.parts.upstream.slots
        assert (slots.in_flight, slots.waiting) == (0, 0)
        assert seen.hits > REQUESTS / 10
        assert seen.answered + seen.left == REQUESTS
        await accounts_add_up(house, keys, seen)
        await what_is_stored_may_be(house)


def names(tasks: set[asyncio.Task[Any]]) -> set[str]:
    """Tasks of the server that would be left over; connections and clients have theirs."""
    kinds = ("fill:", "api:")
    return {task.get_name() for task in tasks if task.get_name().startswith(kinds)}


async def accounts_add_up(house: House, keys: dict[str, str], seen: Seen) -> None:
    """Each request is counted once, has one record, and the sums are those of the records."""
    for tenant, key in keys.items():
        found = await stats(house, key)
        counted = outcomes(found)
        records = [r async for r in recorded(house, tenant)]
        assert len(records) == found["requests"]
        for kind in counted:
            assert counted[kind] == sum(record["outcome"] == kind for record in records)
        for money in ("cost_usd", "saved_usd"):
            total = sum(Decimal(record[money] or 0) for record in records)
            assert Decimal(found[money]) == total
    everybody = [await stats(house, key) for key in keys.values()]
    asked = sum(found["requests"] for found in everybody)
    assert seen.answered <= asked <= REQUESTS


async def recorded(house: House, tenant: str) -> Any:
    redis: Any = house.parts.entries.entries._redis
    start = f"cs1:d:{len(tenant)}:{tenant}:"
    async for key in redis.scan_iter(match=f"{start}*", count=1_000):
        yield await house.parts.decision_log.decision(tenant, key.decode().removeprefix(start))


async def what_is_stored_may_be(house: House) -> None:
    """Whole answers only, each under the tenant and namespace it was made for, none a secret."""
    redis: Any = house.parts.entries.entries._redis
    stored = 0
    async for key in redis.scan_iter(match="cs1:e:*", count=1_000):
        entry = unpack_entry(await redis.get(key))
        assert entry is not None
        message = json.loads(entry.message)
        text = message["content"][0]["text"]
        whose, question, _, _ = text.split("|")
        assert text.endswith(END)
        assert message["stop_reason"] == "end_turn"
        assert whose == f"{entry.tenant}/{entry.namespace}/shared"
        assert entry.text == question
        stored += 1
    assert stored > len(PLACES)
