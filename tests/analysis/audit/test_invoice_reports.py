"""Anthropic's own reports: what they hold, what their sums come to, and how they are fetched."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cacheserver.analysis.audit import admin, data, invoice, invoice_data
from cacheserver.analysis.audit.daily import Month
from cacheserver.analysis.audit.formats.reading import ReadLog, book
from cacheserver.analysis.audit.invoice import Bucket, Invoice
from cacheserver.analysis.audit.output import terminal
from cacheserver.analysis.audit.tally import Tally
from cacheserver.analysis.replay.step import Step
from cacheserver.core.types import Usage
from tests.analysis.audit.records import pair
from tests.analysis.audit.test_reading import json_values, read, write
from tests.analysis.audit.test_report import audit
from tests.analysis.replay.calls import PRICER
from tests.house import serving

DAY = 1_793_577_600.0  # 2026-11-02


def usage_page(*results: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    bucket = {"starting_at": "2026-11-02T00:00:00Z", "ending_at": "2026-11-03T00:00:00Z"}
    return {"data": [{**bucket, "results": list(results)}], "has_more": False, **more}


def result(**more: Any) -> dict[str, Any]:
    return {
        "uncached_input_tokens": 1_000_000,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 200_000,
            "ephemeral_1h_input_tokens": 100_000,
        },
        "cache_read_input_tokens": 3_000_000,
        "output_tokens": 50_000,
        "server_tool_use": {"web_search_requests": 10},
        "api_key_id": "apikey_1",
        "workspace_id": None,
        "model": "claude-sonnet-5-5",
        "service_tier": "standard",
        "context_window": "0-200k",
        **more,
    }


def costs(amount: str, **more: Any) -> dict[str, Any]:
    return {
        "currency": "USD",
        "amount": amount,
        "workspace_id": None,
        "description": "Claude Sonnet 5.5 Usage - Input Tokens",
        "cost_type": "tokens",
        "model": "claude-sonnet-5-5",
        "service_tier": "standard",
        "token_type": "x",
        **more,
    }


def test_a_page_of_usage_is_priced_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "usage.json", usage_page(result()))
    _, reading = read(path)
    assert (reading.bad, reading.formats) == (0, {"anthropic report": 1})
    totals = invoice.totals(reading.invoice, PRICER)
    # $2 and $10 a million, writes 2.50 and 4, reads 0.10, a search a cent.
    by_hand = Decimal("2") + Decimal("0.5") + Decimal("0.4") + Decimal("0.3") + Decimal("0.5")
    assert totals.whole.spent == (by_hand + Decimal("0.1")) * 10**9
    # As plain input 4.3 million cost 8.60, less 3.20 as it was; read, the million plain cost 0.10.
    assert totals.caching_saved == 5_400_000_000
    assert totals.caching_bound == 1_900_000_000
    assert totals.batch_bound == by_hand / 2 * 10**9  # searches are not halved
    assert totals.batched == 0


def test_amounts_of_the_cost_report_are_cents(tmp_path: Path) -> None:
    page = usage_page(costs("378.5"), costs("0.025"), costs("10", model=None, description="Credit"))
    _, reading = read(write(tmp_path / "cost.json", page))
    totals = invoice.totals(reading.invoice, PRICER)
    assert totals.whole.billed == 3_885_250_000
    assert {name: sums.billed for name, sums in totals.by_model.items()} == {
        "claude-sonnet-5-5": 3_785_250_000,
        "not told": 100_000_000,
    }


USAGE_ROW = {
    "usage_date_utc": "2026-11-02",
    "model_version": "claude-opus-5",
    "api_key": "shop",
    "workspace": "Default",
    "usage_type": "batch",
    "context_window": "≤ 200k",
    "usage_input_tokens_no_cache": "1000000",
    "usage_input_tokens_cache_write_5m": "0",
    "usage_input_tokens_cache_write_1h": "0",
    "usage_input_tokens_cache_read": "0",
    "usage_output_tokens": "100000",
    "web_search_count": "0",
    "inference_geo": "us",
    "speed": "standard",
}
COST_ROW = {
    "usage_date_utc": "2026-11-02",
    "model": "Claude Opus 5",
    "workspace": "Default",
    "api_key": "shop",
    "usage_type": "message",
    "context_window": "≤ 200k",
    "token_type": "input_no_cache",
    "cost_usd": "4.125",
    "list_price_usd": "4.125",
    "cost_type": "token",
}


def test_the_consoles_tables_are_read(tmp_path: Path) -> None:
    for name, row in (("usage", USAGE_ROW), ("cost", COST_ROW)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(row))
            table.writeheader()
            table.writerow(row)
    _, reading = read(tmp_path)
    assert reading.bad == 0
    totals = invoice.totals(reading.invoice, PRICER)
    assert (
        totals.whole.spent == totals.batched == 4_125_000_000
    )  # (5 + 2.50) / 2, in the US a tenth more
    assert totals.whole.billed == 4_125_000_000
    assert list(totals.by_model) == ["claude-opus-5"]
    (leak,) = invoice_data.leaks(totals)
    assert (leak.kind, leak.saved) == ("older model", 825_000_000)  # $4/20 for $5/25
    assert leak.month == Month(24_750_000_000)
    assert leak.blamed == (f"{next(iter(totals.by_day))}, workspace Default, key shop",)


def test_beyond_so_many_keys_a_report_is_kept_as_others() -> None:
    kept = Invoice(most=3)
    usage = Usage(1_000_000, 0)
    for n in range(50):
        kept.add(Bucket(86_400.0 * (n % 2), "claude-opus-5-5", usage, key=f"k{n}"))
        kept.add(Bucket(86_400.0 * (n % 2), "claude-opus-5-5", cost=7, workspace=f"w{n}"))
    assert len(kept.usage) <= 3 + 2
    assert len(kept.costs) <= 3 + 2
    totals = invoice.totals(kept, PRICER)
    assert totals.whole.spent == 50 * 4 * 10**9
    assert totals.whole.billed == 350
    assert totals.by_key["other"].spent == 47 * 4 * 10**9


def test_a_sum_of_short_prompts_is_not_priced_as_a_long_one() -> None:
    usage = Usage(10_000_000, 0)
    assert PRICER.summed("claude-haiku-5-5", usage, DAY) == 1_000_000_000  # $0.10 a million
    assert PRICER.cost("claude-haiku-5-5", usage, DAY) == 5_000_000_000


def test_marks_that_cost_more_than_they_save_are_a_leak_of_their_key() -> None:
    book = Invoice()
    for key, read_tokens in (("apikey_1", 0), ("apikey_2", 50_000_000)):
        usage = Usage(0, 0, cache_write_5m_tokens=1_000_000, cache_read_tokens=read_tokens)
        book.add(Bucket(DAY, "claude-sonnet-5-5", usage, key=key))
    (leak,) = invoice_data.leaks(invoice.totals(book, PRICER))
    assert (leak.kind, leak.what, leak.saved) == ("marks nobody reads", "key apikey_1", 500_000_000)


tokens = st.integers(0, 10**9)
buckets = st.builds(
    Bucket,
    start=st.integers(0, 40).map(lambda day: DAY + day * 86_400),
    model=st.sampled_from(["claude-sonnet-5-5", "claude-opus-5", "claude-haiku-5-5", "claude-x"]),
    usage=st.builds(
        Usage, tokens, tokens, tokens, tokens, tokens, st.integers(0, 9), st.sampled_from(["batch"])
    ),
    cost=st.none() | st.integers(-(10**9), 10**12),
    key=st.sampled_from([None, "a", "b"]),
    workspace=st.sampled_from([None, "w"]),
)


@settings(max_examples=60)
@given(st.lists(buckets, max_size=30))
def test_the_lines_of_each_table_sum_to_the_whole(given: list[Bucket]) -> None:
    book = Invoice()
    for bucket in given:
        book.add(bucket)
    totals = invoice.totals(book, PRICER)
    assert totals.whole.billed == sum(b.cost for b in given if b.cost is not None)
    for table in (totals.by_model, totals.by_day, totals.by_workspace):
        assert sum(one.spent for one in table.values()) == totals.whole.spent
        assert sum(one.billed for one in table.values()) == totals.whole.billed
        for kind in ("input", "output", "cache_read"):
            found = sum(one.tokens[kind] for one in table.values())
            assert found == totals.whole.tokens[kind]
    assert sum(one.spent for one in totals.by_key.values()) == totals.whole.spent
    shown = invoice_data.section(totals, Tally())
    for name in ("by_model", "by_workspace", "by_day", "by_key"):
        assert sum(Decimal(line["spent_usd"]) for line in shown[name]) == Decimal(
            shown["spent_usd"]
        )


def test_the_last_thirty_days_count_or_those_asked_for() -> None:
    book = Invoice()
    for day in range(40):
        book.add(Bucket(DAY + day * 86_400, None, cost=1))
    assert sum(book.within(None, None, 30).costs.values()) == 30
    assert sum(book.within(DAY, DAY + 86_400, 30).costs.values()) == 1
    assert sum(book.within(DAY + 39 * 86_400, None, 30).costs.values()) == 1


@settings(max_examples=100)
@given(st.sampled_from([result(), costs("1")]), st.integers(0, 9), json_values)
def test_whatever_a_report_holds_is_never_fatal(
    tmp_path_factory: pytest.TempPathFactory, part: dict[str, Any], place: int, value: Any
) -> None:
    odd = {**part, sorted(part)[place % len(part)]: value}
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    path.write_text(
        json.dumps(usage_page(odd, costs("1"))) + "\n" + json.dumps(usage_page(costs("2")))
    )
    _, reading = read(path)
    assert sum(reading.formats.values()) >= 2  # whatever it is, the others count
    assert sum(reading.formats.values()) + reading.bad + sum(reading.skipped.values()) == 3
    invoice.totals(reading.invoice, PRICER)


def test_reports_beside_a_log_say_what_the_log_covers(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", pair())
    write(tmp_path / "b.json", usage_page(result()))
    (logged,), reading = read(tmp_path)
    tally = Tally()
    tally.add(logged, Step(3_000_000))
    totals = invoice.totals(reading.invoice, PRICER)
    shown = data.report(reading, tally, invoice_data.leaks(totals), invoice=totals)
    assert shown["anthropic_reports"]["by_model"][0]["logged_usd"] == "0.003000000"
    text = "\n".join(terminal.lines(shown))
    assert "Anthropic's own reports, 1 day" in text
    assert "claude-sonnet-5-5" in text


class Organisation:
    """An Admin API with two reports of two pages each, which fails before it answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.failures = [429, 500]
        self.knows = set(admin._GROUPS)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(admin._USAGE, self._usage),
                Route(admin._COST, self._cost),
            ]
        )

    async def _usage(self, request: Request) -> Response:
        return self._answer(request, result())

    async def _cost(self, request: Request) -> Response:
        return self._answer(request, costs("150"))

    def _answer(self, request: Request, part: Mapping[str, Any]) -> Response:
        if request.headers.get("x-api-key") != "sk-ant-admin01-secret":
            error = {"type": "error", "error": {"message": "invalid x-api-key"}}
            return JSONResponse(error, 401)
        if self.failures:
            return JSONResponse({}, self.failures.pop(0), headers={"retry-after": "0"})
        params = request.query_params
        self.asked.append({name: params.getlist(name) for name in params})
        groups = params.getlist("group_by[]")
        if "description" not in groups and not set(groups) <= self.knows:
            error = {"type": "error", "error": {"message": "group_by: unknown"}}
            return JSONResponse(error, 400)
        if "page" in params:
            return JSONResponse(usage_page(part, next_page=None))
        return JSONResponse(usage_page(part, has_more=True, next_page="page_2"))


async def fetched(organisation: Organisation, key: str) -> list[str]:
    async with serving(organisation.app()) as url:

        def all_pages() -> list[str]:
            waits: list[float] = []
            found = [
                where for where, _ in admin.pages(key, DAY, DAY + 1, url=url, wait=waits.append)
            ]
            assert waits == [0.0, 0.0]
            return found

        return await asyncio.to_thread(all_pages)


async def test_reports_are_fetched_page_by_page_through_failures() -> None:
    organisation = Organisation()
    assert await fetched(organisation, "sk-ant-admin01-secret") == [
        *("usage_report page 1", "usage_report page 2"),
        *("cost_report page 1", "cost_report page 2"),
    ]
    assert organisation.asked[0]["starting_at"] == ["2026-11-02T00:00:00Z"]
    assert organisation.asked[1]["page"] == ["page_2"]
    assert "speed" in organisation.asked[0]["group_by[]"]


async def test_an_api_that_knows_fewer_groups_is_asked_for_those() -> None:
    organisation = Organisation()
    organisation.knows = {"model", "workspace_id", "api_key_id", "service_tier"}
    assert len(await fetched(organisation, "sk-ant-admin01-secret")) == 4


async def test_a_key_that_is_refused_is_said_without_it() -> None:
    async with serving(Organisation().app()) as url:
        with pytest.raises(admin.AdminError, match="401") as raised:
            await asyncio.to_thread(list, admin.pages("sk-ant-wrong", DAY, DAY + 1, url=url))
    assert "Admin key" in str(raised.value)
    assert "sk-ant-wrong" not in str(raised.value)


async def test_an_api_that_is_not_there_is_tried_and_then_said() -> None:
    waits: list[float] = []
    with pytest.raises(admin.AdminError, match="ConnectError"):
        list(admin.pages("k", DAY, DAY + 1, url="http://127.0.0.1:9", wait=waits.append))
    assert waits == [1.0, 2.0, 4.0, 8.0]


async def test_the_command_fetches_and_reports(tmp_path: Path, monkeypatch: Any) -> None:
    organisation = Organisation()
    async with serving(organisation.app()) as url:
        monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", "sk-ant-admin01-secret")
        words = ("--admin", "--admin-url", url, "--since", "2026-11-01", "--json-file", "out.json")
        done = await asyncio.to_thread(audit, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads((tmp_path / "out.json").read_text())["anthropic_reports"]
    assert shown["spent_usd"] == "7.600000000"  # two pages of $3.80
    assert shown["cost_report_usd"] == "3.000000000"
    assert "secret" not in done.stdout + done.stderr


def test_without_a_key_or_a_path_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv("ANTHROPIC_ADMIN_KEY", raising=False)
    for words, says in ((["--admin"], "ANTHROPIC_ADMIN_KEY"), ([], "--admin")):
        done = audit(*words, cwd=tmp_path)
        assert (done.returncode, says in done.stderr) == (2, True)


def test_a_stretch_without_a_time_is_bad() -> None:
    reading = ReadLog()
    book({"starting_at": "soon", "results": []}, "x", reading)
    assert (reading.shown, bool(reading.invoice)) == (["x: no time"], False)
