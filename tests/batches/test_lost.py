"""A batch whose creation ended nobody knows how: looked for by its nonce, never sent twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from cacheserver.simulated.directives import Fault
from tests.batches.house import BatchHouse, item, shut
from tests.batches.test_batches import results, until, until_sent
from tests.ledger.test_hang_ups import rows as rows_of

CREATE = "/v1/messages/batches"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path, batch_s=1_000.0) as house:
        yield house


@pytest.mark.parametrize("gone", ["batch", "results"])
async def test_what_claude_billed_and_forgot_is_in_rows_as_bounds(
    house: BatchHouse, gone: str
) -> None:
    requests = [item("a"), item("b", "Why?"), item("a-too")]
    made = await house.sdk().messages.batches.create(requests=requests)
    await until_sent(house)
    work = house.batching._context.work
    (sent,) = [await work.batch(nonce) for nonce in await work.batches()]
    assert sent is not None
    batch = f"{CREATE}/{sent.upstream}"
    path = batch if gone == "batch" else f"{batch}/results"
    house.upstream.faults.add(Fault("error", status=404, path=path, times=1_000))
    house.clock.ahead_s += 1_000
    found = await results(house, made.id)
    assert {line["result"]["error"]["error"]["type"] for line in found.values()} == {
        "not_found_error"
    }
    assert found["a"]["cache"]["cost_usd"] is None
    assert found["a-too"]["cache"]["cost_usd"] == "0.000000000"
    rows = {row.id: row for row in await rows_of(house)}
    owed = [rows[found[name]["cache"]["decision_id"]] for name in ("a", "b")]
    free = rows[found["a-too"]["cache"]["decision_id"]]
    assert {(row.outcome, row.status, row.cost) for row in owed} == {("failed", 404, None)}
    assert (free.cost, free.unknown) == (0, None)
    invoice = sum(line.nanodollars for line in house.upstream.invoice)
    assert gone == "batch" or invoice > 0  # the simulated Claude answers once it is asked
    most = [row.unknown.most for row in owed if row.unknown is not None]
    assert len(most) == 2
    assert invoice <= sum(one or 0 for one in most)
    # 100 tokens of answer and a byte of the body each, at most, for half of Haiku's price.
    bodies = [len(json.dumps(request["params"])) for sent in house.sent for request in sent]
    assert sum(one or 0 for one in most) <= sum(size * 1_000 + 100 * 2_500 for size in bodies)


async def taken(house: BatchHouse) -> str:
    return (await house.sdk().messages.batches.create(requests=[item("a"), item("b", "Why?")])).id


async def state(house: BatchHouse) -> str:
    work = house.batching._context.work
    ships = [await work.batch(nonce) for nonce in await work.batches()]
    return ",".join(ship.state for ship in ships if ship is not None)


async def past_the_search(house: BatchHouse, searches: int) -> None:
    """Return once the account's batches were looked through so often, none of them ours."""

    async def looked() -> bool:
        lists = [r for r in house.upstream.requests if r.path == CREATE and r.method == "GET"]
        return len(lists) >= searches

    while not await looked():
        house.clock.ahead_s += 1
        await house.batching.changed()


async def test_an_answer_that_was_lost_costs_no_second_batch(house: BatchHouse) -> None:
    house.door.hold_at(lambda method, path: method == "POST", "lost")
    id = await taken(house)
    await past_the_search(house, 2)
    assert await state(house) == "sending"  # it is there, and its custom ids do not show yet
    house.clock.ahead_s += 1_000
    assert {line["result"]["type"] for line in (await results(house, id)).values()} == {"succeeded"}
    assert len(house.sent) == 1


async def test_what_was_not_sent_for_claude_fails_is_not_looked_for(house: BatchHouse) -> None:
    shut(house.parts.upstream.breaker)
    id = await taken(house)
    house.clock.ahead_s += 1_000

    async def packed() -> bool:
        work = house.batching._context.work
        ships = [await work.batch(nonce) for nonce in await work.batches()]
        return [(one.state, one.tries > 0) for one in ships if one is not None] == [
            ("packed", True)
        ]

    while not await packed():
        await house.batching.changed()
    assert not [r for r in house.upstream.requests if r.path == CREATE]
    breaker = house.parts.upstream.breaker
    breaker.leave("x", house.parts.upstream.clock(), good=True, probe=True)
    house.clock.ahead_s += 1_000
    await until_sent(house)
    house.clock.ahead_s += 1_000
    assert {line["result"]["type"] for line in (await results(house, id)).values()} == {"succeeded"}
    assert len(house.sent) == 1
    assert not [r for r in house.upstream.requests if r.path == CREATE and r.method == "GET"]


async def test_another_batch_of_the_account_is_not_taken_for_ours(house: BatchHouse) -> None:
    anthropic = AsyncAnthropic(
        api_key="sk-ant-the-servers-own",
        base_url=house.parts.upstream._base_url,
        max_retries=0,
    )
    async with anthropic as own:
        house.door.hold_at(lambda method, path: method == "POST", "lost")
        id = await taken(house)
        await house.door.reached.wait()
        await own.messages.batches.create(requests=[item("c"), item("d", "Who?")])
    house.clock.ahead_s += 500
    await past_the_search(house, 2)
    house.clock.ahead_s += 1_000
    found = await results(house, id)
    assert "Why?" in found["b"]["result"]["message"]["content"][0]["text"]
    assert len(house.sent) == 2  # ours and the other


async def test_a_batch_that_is_known_to_be_another_of_ours_holds_nothing_up(
    house: BatchHouse,
) -> None:
    first = await taken(house)
    await until_sent(house)
    house.upstream.faults.add(Fault("error", status=500, path=CREATE))
    requests = [item("c", "Where?"), item("d", "Whence?")]
    second = (await house.sdk().messages.batches.create(requests=requests)).id
    await past_the_search(house, 1)
    await until_sent(house)
    house.clock.ahead_s += 1_000
    for id in (first, second):
        kinds = {line["result"]["type"] for line in (await results(house, id)).values()}
        assert kinds == {"succeeded"}


async def test_a_batch_of_another_size_holds_nothing_up(house: BatchHouse) -> None:
    anthropic = AsyncAnthropic(
        api_key="sk-ant-the-servers-own",
        base_url=house.parts.upstream._base_url,
        max_retries=0,
    )
    async with anthropic as own:
        await own.messages.batches.create(requests=[item("c")])
    house.upstream.faults.add(Fault("error", status=500, path=CREATE))
    await taken(house)
    await past_the_search(house, 1)
    await until_sent(house)  # before the other has ended, after 1,000 seconds


async def test_what_never_arrived_is_sent_again_once_that_is_certain(house: BatchHouse) -> None:
    house.upstream.faults.add(Fault("error", status=500, path=CREATE))
    id = await taken(house)
    await past_the_search(house, 1)
    await until_sent(house)
    house.clock.ahead_s += 1_000
    assert (await results(house, id))["a"]["result"]["type"] == "succeeded"
    nonces = {request["custom_id"].split("-")[0] for sent in house.sent for request in sent}
    assert len(nonces) == 1


@pytest.mark.parametrize("status", [429, 529])
async def test_a_refusal_for_now_is_sent_again_without_a_search(
    house: BatchHouse, status: int
) -> None:
    house.upstream.faults.add(Fault("error", status=status, path=CREATE))
    id = await taken(house)

    async def put_off() -> bool:
        return bool(house.sent) and await state(house) == "packed"

    await until(house, put_off)
    house.clock.ahead_s += 15
    await until_sent(house)
    house.clock.ahead_s += 1_000
    assert (await results(house, id))["a"]["result"]["type"] == "succeeded"
    assert not [r for r in house.upstream.requests if r.path == CREATE and r.method == "GET"]


async def test_a_refusal_for_good_is_every_items_error(house: BatchHouse) -> None:
    house.upstream.faults.add(Fault("error", status=400, path=CREATE))
    id = await taken(house)
    found: dict[str, Any] = await results(house, id)
    kinds = {line["result"]["error"]["error"]["type"] for line in found.values()}
    assert (kinds, len(house.sent)) == ({"invalid_request_error"}, 1)
