"""Lines between servers and a store fail as they are told to; the checker tells servers apart."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.chaos_run import schedule
from scripts.chaos_run.checker import Limits, check
from scripts.chaos_run.history import Closed, Exchange, Fault, History, Revoked
from scripts.chaos_run.store_line import CUT, DEAF, HOLD, MUTE, SLOW, StoreLine
from tests.chaos.test_checker import FIRST, PURGE, hit, put

ENDED = (ConnectionError, asyncio.IncompleteReadError)
BRIEFLY_S = 0.2  # what is held does not arrive within


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:  # a socket's path has to be short
        yield Path(folder)


class Echo:
    """A store that repeats each line, and knows what it was told."""

    def __init__(self, line: StoreLine, url: str) -> None:
        self.line = line
        self.told = b""
        self._at = urlsplit(url)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self._at.hostname, self._at.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                self.told += data
                writer.write(data)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def echo(folder: Path) -> AsyncIterator[Echo]:
    line = StoreLine(folder / "echo.sock", seed=1)
    async with line.url() as url:
        store = Echo(line, url)
        server = await asyncio.start_unix_server(store.answer, folder / "echo.sock")
        yield store
        server.close()


@pytest.mark.parametrize(("mode", "told"), [(HOLD, b""), (MUTE, b""), (DEAF, b"one\n")])
async def test_a_line_that_holds_passes_all_on_when_it_is_well(
    socket_folder: Path, mode: str, told: bytes
) -> None:
    async with echo(socket_folder) as store, store.connect() as (reader, writer):
        store.line.mode = mode
        writer.write(b"one\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), BRIEFLY_S)
        assert store.told == told
        store.line.mode = ""
        assert await reader.readline() == b"one\n"


async def test_what_a_connection_had_on_a_held_line_is_lost_when_it_closes(
    socket_folder: Path,
) -> None:
    async with echo(socket_folder) as store:
        store.line.mode = MUTE
        async with store.connect() as (reader, writer):
            writer.write(b"late\n")
            writer.write_eof()
            with suppress(ConnectionError):  # reset, or closed
                assert await reader.read() == b""
        store.line.mode = ""
        async with store.connect() as (reader, writer):
            writer.write(b"new\n")
            assert await reader.readline() == b"new\n"
        assert store.told == b"new\n"


async def test_a_cut_line_ends_connections_and_takes_no_new_one(socket_folder: Path) -> None:
    async with echo(socket_folder) as store:
        async with store.connect() as (reader, writer):
            writer.write(b"one\n")
            assert await reader.readline() == b"one\n"
            store.line.mode = CUT
            with pytest.raises(ENDED):
                await reader.readexactly(1)
        async with store.connect() as (reader, _):
            with pytest.raises(ENDED):
                await reader.readexactly(1)
        store.line.mode = SLOW
        async with store.connect() as (reader, writer):
            writer.write(b"one\n")
            assert await reader.readline() == b"one\n"
            store.line.drop()
            with pytest.raises(ENDED):
                await reader.readexactly(1)


def test_several_servers_meet_faults_of_their_own() -> None:
    kinds = (*schedule.HARD, *schedule.SEVERAL)
    assert len(set(kinds)) == len(kinds)
    assert sorted(one.kind for one in schedule.hard(1, kinds)[: len(kinds)]) == sorted(kinds)


def kinds_and_words(history: History) -> list[tuple[str, str]]:
    return [(found.kind, found.what) for found in check(history, Limits())]


@pytest.mark.parametrize(
    ("kind", "event", "told"),
    [
        ("after-purge", hit(110.21, FIRST, server=2), {"removed": [PURGE]}),
        (
            "after-revocation",
            hit(110.2, FIRST, server=2),
            {"revoked": [Revoked(110, 110.05, "k1")]},
        ),
        (
            "below-bar",
            hit(110.21, FIRST, outcome="semantic", server=2),
            {"closed": [Closed(110.2, 200, "one", "default")]},
        ),
    ],
)
def test_what_was_acknowledged_holds_at_every_server_at_once(
    kind: str, event: Exchange, told: dict[str, list[object]]
) -> None:
    [(found, words)] = kinds_and_words(History(exchanges=[FIRST, event], **told))  # type: ignore[arg-type]
    assert found == kind
    assert "at server 2" in words


def test_what_another_servers_call_stored_is_for_all() -> None:
    other = replace(FIRST, outcome="coalesced", off="output-cap", stored=False, decision="dec2")
    assert [kind for kind, _ in kinds_and_words(History(exchanges=[FIRST, other]))] == ["joined"]
    several = [replace(FIRST, server=1), replace(other, server=2)]
    assert kinds_and_words(History(exchanges=several)) == []


def test_a_row_is_missed_only_where_its_own_server_lost_the_store() -> None:
    event = replace(FIRST, server=1)
    cut, killed = Fault(99, 101, "cut-line", (1,)), Fault(103, 104, "kill-server", (1,))
    history = History(exchanges=[event], faults=[cut, killed], rows=[])
    assert kinds_and_words(history) == []
    for others in ([replace(cut, servers=(2,)), killed], [cut, replace(killed, servers=(2,))]):
        [(kind, _)] = kinds_and_words(replace(history, faults=others))
        assert kind == "ledger"
    assert kinds_and_words(replace(history, faults=[replace(cut, servers=()), killed])) == []


def test_a_server_that_is_cut_off_may_ask_for_a_revoked_key_but_serves_it_nothing() -> None:
    lapse = Fault(109, 113, "lapse-line", (2,))
    history = History(
        exchanges=[FIRST, put(112, server=2, reason="degraded")],
        revoked=[Revoked(110, 111, "k1")],
        faults=[lapse],
    )
    assert kinds_and_words(history) == []
    for others in (
        {"exchanges": [FIRST, hit(112, FIRST, server=2)]},  # its lease has lapsed: no hit
        {"exchanges": [FIRST, hit(113.01, FIRST, server=2)]},  # nor before it forgot the key
        {"faults": [replace(lapse, servers=(1,))]},
        {"exchanges": [FIRST, put(116, server=2, reason="degraded")]},  # it is back, and knows
    ):
        [(kind, words)] = kinds_and_words(replace(history, **others))
        assert (kind, "at server 2" in words) == ("after-revocation", True)
