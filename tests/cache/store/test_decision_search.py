"""Search of decisions: what it finds is what all records, filtered one by one, are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.cache.store import decision_index
from cacheserver.cache.store.decision_filters import Filters, Range
from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.cache.store.decision_scripts import DECISION_S
from cacheserver.cache.store.decision_search import DecisionSearch, Found
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.ledger_row import Row
from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.ledger.writer import Ledger
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.stored_row import Details
from tests.ledger.rows import AT, row

SCOPES = ("0" * 64, "1" * 64, "")
TEXTS = ("Where is Straße 5?", "Straße \ud800?", 'She said "yes"\n', "ΟΔΟΣ", "how?", None)
VETOES = (None, "order", "number")


def details(
    *,
    scope: str,
    namespace: str,
    asked: str | None,
    near: tuple[float, float | None, str | None] | None,
) -> Details:
    """Details as `decision_record.encode` writes them; `near`: similarity, probability, veto."""
    main, listed = None, list[Any]()
    similarity, probability, veto = near or (None, None, None)
    if near is not None:
        evidence = None if probability is None else [similarity, 0, 0, 0, 0, 0]
        one = ("e1", "near?", similarity, 0, probability, veto, None, None, 5, evidence, False)
        main, listed = 0, [one]
    decided = [main, listed, None, None, 0]
    plain = [1, 0.1, None, 0, decided, asked, namespace, None, "f", scope, "", None, None, None]
    facts = decision_index.facts(
        scope=scope,
        namespace=namespace,
        veto=veto,
        similarity=similarity,
        probability=probability,
    )
    rest = [None, None, None, None, None, FIRST_EMBEDDER]
    return Details(json_text.dumps([*plain, *rest]), near is not None, facts)


class Server:
    """A ledger and its reader, as each server has them."""

    def __init__(self, redis: Connection, prefix: str, **given: Any) -> None:
        self.ledger = Ledger(redis, prefix=prefix)
        self.log = DecisionLog(redis, self.ledger, prefix=prefix, **given)
        self.search = DecisionSearch(redis, self.log, prefix=prefix)

    async def close(self) -> None:
        await self.log.close()
        await self.ledger.close()


@asynccontextmanager
async def servers(redis: Connection, prefix: str, count: int = 1) -> AsyncIterator[list[Server]]:
    found = [Server(redis, prefix) for _ in range(count)]
    yield found
    for one in found:
        await one.close()


_millionths = st.integers(0, 1_000_000).map(lambda number: number / 1_000_000)
_rows = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["a", "b", "a:b"]),
        "at": st.integers(0, 4).map(lambda quarter: AT + quarter * 1_800.5),
        "outcome": st.sampled_from(["miss", "semantic", "exact"]),
        "reason": st.sampled_from(["empty", "below-bar"]),
        "model": st.sampled_from([None, "claude-haiku-5-5", "claude-opus-5-5"]),
        "cost": st.none() | st.integers(0, 3),
    }
)
_details = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(SCOPES),
        "namespace": st.sampled_from(["default", "other"]),
        "asked": st.sampled_from(TEXTS),
        "near": st.none()
        | st.tuples(_millionths, st.none() | _millionths, st.sampled_from(VETOES)),
    }
)
_ranges = st.builds(Range, st.none() | _millionths, st.none() | _millionths)
_filters = st.builds(
    Filters,
    namespace=st.sampled_from([None, None, "other", "none"]),
    scope=st.sampled_from([None, None, *SCOPES]),
    outcome=st.sampled_from([None, None, "miss"]),
    reason=st.sampled_from([None, None, "below-bar"]),
    veto=st.sampled_from([None, None, "order"]),
    model=st.sampled_from([None, None, "claude-haiku-5-5", "claude-opus-5-5"]),
    similarity=st.just(Range()) | _ranges,
    probability=st.just(Range()) | _ranges,
    text=st.sampled_from([None, None, "STRASSE", 'said "YES"\n', "οδος", "?"]),
    since=st.none() | st.just(AT + 1_800.5),
    until=st.none() | st.just(AT + 3_601.0),
)


def wanted(record: Mapping[str, Any], f: Filters) -> bool:
    """Return whether a record is what a filter asks for, by the words of the page."""
    decision, found = record["decision"], []
    for one, value in (
        (f.namespace, record["namespace"]), (f.scope, record["scope"]),
        (f.outcome, record["outcome"]), (f.reason, decision["reason"]),
        (f.veto, decision.get("veto")),
    ):  # fmt: skip
        found.append(one is None or one == value)
    found.append(f.model is None or f.model in (record["model"], record["model_asked"]))
    for bounds, value in (
        (f.similarity, decision["similarity"]), (f.probability, decision["probability"])
    ):  # fmt: skip
        least = -9 if bounds.least is None else bounds.least
        most = 9 if bounds.most is None else bounds.most
        found.append(bounds == Range() or (value is not None and least <= value <= most))
    found.append((f.since or 0) <= record["at"] < (f.until or 1e12))
    asked = (record["asked"] or "").casefold()
    found.append(f.text is None or f.text.casefold() in asked)
    return all(found)


async def paged(
    listed: Callable[..., Any], filters: Filters, tenant: str | None, limit: int
) -> list[tuple[str, str]]:
    """All pages of a list, as tenants and ids."""
    found, cursor = [], None
    while True:
        page: Found = await listed(filters, tenant=tenant, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += [(name, record["id"]) for name, record in page.items]
        if (cursor := page.next) is None:
            return found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_=st.lists(st.tuples(_rows, _details, _details | st.none()), min_size=1, max_size=20),
    asked=st.lists(
        st.tuples(_filters, st.sampled_from([None, "a", "a:b"]), st.integers(1, 7)),
        min_size=1,
        max_size=6,
    ),
)
async def test_a_search_finds_what_a_filter_of_all_records_finds(
    redis: Connection, given_: list[Any], asked: list[Any]
) -> None:
    prefix = f"{id(given_)}{hash(str(given_))}:"
    async with servers(redis, prefix, 2) as both:
        recorded: list[Row] = []
        for number, (fields, first, again) in enumerate(given_):
            one = row(id=f"dec_{number:024x}", **fields)
            recorded.append(one)
            ledger = both[number % 2].ledger
            ledger.append(one, details(**first))
            if again is not None:  # what was sent last holds
                await asyncio.gather(*(each.log.flush() for each in both))
                ledger.replace(one, details(**again))
        await asyncio.gather(*(each.log.flush() for each in both))
        records = [(one.tenant, await both[0].log.decision(one.tenant, one.id)) for one in recorded]
        for filters, tenant, limit in asked:
            matching = [
                (name, record)
                for name, record in records
                if record is not None and tenant in (None, name) and wanted(record, filters)
            ]
            matching.sort(key=lambda one: (one[1]["at"], one[1]["id"]), reverse=True)
            found = await paged(both[1].search.newest, filters, tenant, limit)
            assert found == [(name, record["id"]) for name, record in matching]
            misses = [
                (record["cost_usd"], record["at"], record["id"], name)
                for name, record in matching
                if record["outcome"] == "miss"
                and record["decision"]["similarity"] is not None
                and record["cost_usd"] is not None
            ]
            missed = await paged(both[0].search.near_misses, filters, tenant, limit)
            assert missed == [(name, id) for _, _, id, name in sorted(misses, reverse=True)]


def plain(number: int, asked: str = "how?", **given: Any) -> tuple[Row, Details]:
    one = row(id=f"dec_{number:024x}", **{"at": AT + number, **given})
    return one, details(scope="", namespace="default", asked=asked, near=(0.9, None, None))


@pytest.mark.parametrize("facts", [b"", b"\n" * stored_row.FACTS_BYTES])
@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("kept", [b"", b"[1]", b"\n\x00"])
def test_details_are_those_of_the_parted_record(facts: bytes, near: bool, kept: bytes) -> None:
    packed = stored_row.encode(row())
    record = stored_row.joined_with(packed, kept, Details(b"", near, facts))
    for one in (record, packed, stored_row.joined(packed)):
        assert stored_row.details_of(one) == (stored_row.parted(one).details or b"")
    assert stored_row.details_of(record) == kept


async def test_a_text_is_found_in_any_case_however_it_is_written_down(
    redis: Connection, prefix: str
) -> None:
    """A lone surrogate has JSON spell all letters but the plainest by number."""
    async with servers(redis, prefix) as (one,):
        for number, asked in enumerate(("Straße 5", "Straße \ud800", "STRASSE", "how?")):
            one.ledger.append(*plain(number, asked=asked))
        found = await paged(one.search.newest, Filters(text="strasse"), "acme", 9)
        assert [id[-1] for _, id in found] == ["2", "1", "0"]


async def test_a_decision_that_is_gone_is_left_out(redis: Connection, prefix: str) -> None:
    async with servers(redis, prefix) as (one,):
        for number in range(5):
            one.ledger.append(*plain(number))
        await one.log.flush()
        await command(redis, "DEL", f"{prefix}d:4:acme:dec_{3:024x}")
        found = await paged(one.search.newest, Filters(), "acme", 2)
        assert [id[-1] for _, id in found] == ["4", "2", "1", "0"]


async def test_a_search_that_has_no_time_left_returns_what_it_has_and_a_cursor(
    redis: Connection, prefix: str
) -> None:
    async with servers(redis, prefix) as (one,):
        for number in range(1_500):
            one.ledger.append(*plain(number, asked="wanted" if number == 3 else "how?"))
        hurried = DecisionSearch(redis, one.log, prefix=prefix, limit_s=0)
        page = await hurried.newest(Filters(text="Wanted"), tenant="acme", limit=5)
        assert page.items == []
        assert page.next is not None
        found = await paged(hurried.newest, Filters(text="Wanted"), "acme", 5)
        assert found == [("acme", f"dec_{3:024x}")]


@pytest.mark.parametrize("cursor", ["", "1:2", "x:1:d", "1:nan:d", "1:inf:d", f"{10**30}:1:d"])
async def test_a_cursor_of_another_kind_is_refused(
    redis: Connection, prefix: str, cursor: str
) -> None:
    async with servers(redis, prefix) as (one,):
        with pytest.raises(BadRequest, match="cursor"):
            await one.search.newest(Filters(), tenant=None, limit=1, cursor=cursor)


async def test_the_index_goes_with_the_decisions_of_its_hour(
    redis: Connection, prefix: str
) -> None:
    """Decisions go when their day is over, and when there are too many."""
    async with servers(redis, prefix) as (one,):
        one.ledger.append(*plain(1))
        await one.log.flush()
        key = f"{prefix}di:4:acme:{int(AT // 3_600)}"
        assert 0 < await command(redis, "TTL", key) <= DECISION_S + 7_200
        hour = f"4:acme:{int(AT // 3_600)}"
        began = float(await command(redis, "ZSCORE", f"{prefix}dis", hour))
        # As if it had been written two hours ago and then been crowded out.
        await command(redis, "ZADD", f"{prefix}dis", began - 2, hour)
        await one.log.fold()
        assert not await command(redis, "EXISTS", key, f"{prefix}dis")
