"""Commands on a terminal of their own, and a relay that keeps back what they ask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.commands.conftest import Done
from tests.models import ROOT

_BYTES: Final = 1 << 16
_PATIENCE_S: Final = 10.0  # far more than a command needs to end, on a busy machine


class Foreground:
    """A command whose standard input and error are a terminal; standard output is read."""

    def __init__(self, child: Process, terminal: int) -> None:
        self._child = child
        self._terminal = terminal
        self._shown = ""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *words: str | Path, cwd: Path, **variables: str | Path) -> Foreground:
        """Start a command with nothing in its environment but `variables`, without a prefix."""
        ours, its = os.openpty()
        given = {f"CACHESERVER_{name.upper()}": str(value) for name, value in variables.items()}
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd)}
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cacheserver", *words),
            stdin=its, stdout=PIPE, stderr=its, cwd=cwd, env=environment | given,
            start_new_session=True, preexec_fn=hear_interrupts,
        )  # fmt: skip
        os.close(its)
        return cls(child, ours)

    async def shows(self, text: str) -> None:
        """Wait until the terminal shows a text."""
        while text not in self._shown:
            self._news.clear()
            await self.until(self._news)

    async def until(self, event: asyncio.Event) -> None:
        """Wait for what happens before the command ends."""
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait({waiting, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert event.is_set(), self._shown

    async def interrupt(self) -> Done:
        """Interrupt the command and all that it has started, as Ctrl-C does; wait for its end."""
        # Before Python 3.12, `asyncio.wait_for` loses a cancellation that comes as what it waits
        # for is done. A person presses the keys again.
        for _ in range(2):
            os.killpg(self._child.pid, signal.SIGINT)
            if (await asyncio.wait({self._reading}, timeout=_PATIENCE_S))[0]:
                break
        return await self.end()

    async def end(self) -> Done:
        out, _ = await self._child.communicate()
        await self._reading
        assert self._child.returncode is not None
        return Done(self._child.returncode, out.decode(), self._shown)

    async def _read(self) -> None:
        with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal any more
            while data := await asyncio.to_thread(os.read, self._terminal, _BYTES):
                self._shown += data.decode().replace("\r\n", "\n")
                self._news.set()
        os.close(self._terminal)


def hear_interrupts() -> None:
    """Undo what a shell does to commands in its background, these tests among them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Gate:
    """A relay before a server that keeps back the `nth` request with `mark`, and what follows."""

    def __init__(self, mark: bytes, nth: int) -> None:
        self.shut = asyncio.Event()
        self._mark = mark
        self._left = nth

    @asynccontextmanager
    async def before(
        self, *, host: str | None = None, port: int | None = None, path: str | None = None
    ) -> AsyncIterator[int]:
        """Yield the port of a relay to `host` and `port`, or to a Unix socket."""
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = (
                asyncio.open_connection(host, port)
                if path is None
                else asyncio.open_unix_connection(path)
            )
            back, forth = await there
            both = (self._relay(reader, forth, held=True), self._relay(back, writer, held=False))
            tasks.update(asyncio.create_task(one) for one in both)

        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool
    ) -> None:
        try:
            while data := await reader.read(_BYTES):
                if held:
                    self._left -= data.count(self._mark)
                    if self._left <= 0:
                        self.shut.set()
                        continue
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the command has ended
        finally:
            writer.close()
