"""Names go from rows, sums and files; every number stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cacheserver.erasure.key_kinds import REGISTRY
from cacheserver.erasure.ledger_rows import ErasedRows, Names, files
from cacheserver.erasure.selectors import Selector
from cacheserver.ledger import row_codec
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.retention import LedgerRetention
from cacheserver.storage.connection import Connection
from cacheserver.storage.key_scan import scan_keys
from tests.ledger.rows import AT, row
from tests.ledger.test_retention import DAY, recorded

SUMS = {"task_sums", "task_hour_sums", "tag_sums", "conversation_sums"}
SELECTORS = {
    "tenant": Selector("tenant", ("acme",)),
    "tag": Selector("tag", ("mine",)),
    "conversation": Selector("conversation", ("ours",)),
}


@pytest.mark.parametrize("kind", SELECTORS)
async def test_money_stays_and_names_go(
    redis: Connection, prefix: str, tmp_path: Path, kind: str
) -> None:
    named = {"tags": ("mine", "other"), "conversation": "ours", "task": "support"}
    made = [
        row(at=AT - 40 * DAY + n * DAY, tenant=("acme", "else")[n % 2], cost=n, **named)
        for n in range(40)
    ]
    await recorded(redis, prefix, made)
    assert await LedgerRetention(redis, prefix=prefix, folder=tmp_path).enforce(AT) > 0
    export = LedgerExport(redis, prefix=prefix, folder=tmp_path)
    names = Names("acme", SELECTORS[kind], AT - DAY, frozenset())

    async def exported() -> list[dict[str, object]]:
        start, end = AT - 100 * DAY, AT + DAY
        found = [each async for page in export.rows(start, end) for each in page]
        return sorted(found, key=lambda each: str(each["id"]))

    async def short(of: str, tenant: str) -> tuple[set[str], Counter[str]]:
        """The names, and the numbers of all of them together."""
        ledger = LedgerReports(redis, prefix=prefix)
        today = int(AT // DAY)
        by_name = await ledger.short(of, [tenant], today - 50, today + 2)
        total = Counter[str]()
        for numbers in by_name.values():
            total.update(numbers)
        return set(by_name), total

    places = [(of, tenant) for of in ("lk", "lg") for tenant in ("acme", "else")]
    before, sums = await exported(), {place: await short(*place) for place in places}
    erased = ErasedRows(redis)
    changed, unread = files(tmp_path, names)
    assert unread == 0
    async for page in scan_keys(redis, prefix):
        for key in page:
            known = REGISTRY.find(key[len(prefix) :].decode())
            assert known is not None
            if known[0].name == "ledger_rows":
                changed += await erased.rows(key, names)
            elif known[0].name in SUMS and known[1]["tenant"] == "acme":
                await erased.sums(key, known[0].name, names)
    assert changed == 20

    def bare(flat: dict[str, object]) -> dict[str, object]:
        if flat["tenant"] != "acme":
            return flat
        gone: dict[str, dict[str, object]] = {
            "tenant": {"tags": "", "conversation": None, "task": None},
            "tag": {"tags": "other"},
            "conversation": {"conversation": None},
        }
        return {**flat, **gone[kind]}

    assert await exported() == [bare(flat) for flat in before]
    after = {place: await short(*place) for place in places}
    assert {place: total for place, (_, total) in after.items()} == {
        place: total for place, (_, total) in sums.items()
    }
    names_gone = {
        "tenant": {"support", "mine", "other"},
        "tag": {"mine"},
        "conversation": set[str](),
    }
    for place, (listed, _) in after.items():
        mine = names_gone[kind] if place[1] == "acme" else set()
        assert listed - {""} == sums[place][0] - mine
    assert files(tmp_path, names) == (0, 0)


def test_a_row_that_came_after_keeps_its_names() -> None:
    one = row(at=AT, tenant="acme", tags=("mine",), conversation="ours")
    for selector in SELECTORS.values():
        assert Names("acme", selector, AT - 1, frozenset()).without(one) == one
        assert Names("else", selector, AT, {one.id}).without(one) == one
        # Its request is known to be from before the erasure, though it was booked after it.
        since = Names("acme", selector, AT - 1, {one.id})
        assert since.cover(one)
        assert since.without(one).conversation is None
        assert since.without(one).tags == ()
    known = Names("acme", Selector("actor", ("a",)), AT, {one.id}).without(one)
    assert known == replace(one, tags=(), conversation=None)
    assert row_codec.flat(known)["cost_nanodollars"] == row_codec.flat(one)["cost_nanodollars"]
