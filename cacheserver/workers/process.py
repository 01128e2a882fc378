"""A worker: the process that the parent starts, and what it is given."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import signal
import socket
import sys
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cacheserver.config.settings import Settings
from cacheserver.core.command_line import exit_status
from cacheserver.core.errors import Busy, CacheServerError, SettingsError
from cacheserver.observability import logs
from cacheserver.observability.merged_metrics import Families
from cacheserver.observability.server_counts import CHECKS, FAMILIES
from cacheserver.storage.build import StoreServer
from cacheserver.workers.channel import Channel
from cacheserver.workers.event_loop import loop_factory

# What the two ends say, beside the topics.
READY, SERVE, FAILED, DISK = "ready", "serve", "failed", "disk"

_RESTORE_S = 60.0  # a million vectors are read in 10 s; an embedder may be away for longer
_WAIT_S = 5.0  # for the parent, which waits less for each worker

logger = logging.getLogger("cacheserver.workers.process")  # not `__main__`, as it is run


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """Start of a worker. `number` counts from 0; `has_disk`: it watches the store's disk."""

    number: int
    settings: Settings
    store: StoreServer
    has_disk: bool
    place: Path  # where the first listens to the others
    again: bool  # in the place of one that has ended: the others serve


@dataclass(slots=True)
class StoreDisk:
    """The sync of the store's files by the parent, as it said last. As `AofSync`."""

    failures: int = 0
    failing: bool = False
    unsynced_s: float = 0.0


@dataclass(slots=True)
class WorkerEnd:
    """The worker's end of the channel, for the application."""

    number: int
    place: Path
    disk: StoreDisk
    again: bool
    channel: Channel = field(init=False)
    answers: dict[str, Callable[[], Awaitable[Any]]] = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)  # by the parent, whether to serve
    serves: bool = False

    async def ready(self, lines: Sequence[str], restored: asyncio.Event) -> bool:
        """Say that this worker is ready, with what a user reads; return whether to serve.

        In the place of one that has ended it waits until similar questions are found: the others
        serve meanwhile.
        """
        if self.again:
            waits = [asyncio.create_task(one.wait()) for one in (restored, self.told)]
            await asyncio.wait(waits, timeout=_RESTORE_S, return_when=FIRST_COMPLETED)
            for one in waits:
                one.cancel()
        self.channel.say(READY, list(lines))
        await self.told.wait()
        return self.serves

    def reply(self, topic: str, answer: Callable[[], Awaitable[Any]]) -> None:
        """Have `answer` called when the parent asks for a topic."""
        self.answers[topic] = answer

    def ended(self, families: Families) -> None:
        """Leave what this worker has counted."""
        self.channel.say(FAMILIES, families)

    async def families(self) -> Sequence[Any]:
        """Return the metrics of all workers. Raises `Busy`: sums of some would be wrong."""
        try:
            return list(await self.channel.ask(FAMILIES, wait_s=_WAIT_S))
        except (OSError, TimeoutError):
            raise Busy("the other workers do not answer; try again shortly") from None

    async def checks(self) -> Sequence[Any]:
        """Return the checks of all workers; of this one if the parent does not answer."""
        try:
            return list(await self.channel.ask(CHECKS, wait_s=_WAIT_S))
        except (OSError, TimeoutError):
            return [await self.answers[CHECKS]()]

    async def answer(self, topic: str) -> Any:
        found = self.answers.get(topic)
        return None if found is None else await found()

    def heard(self, topic: str, value: Any) -> None:
        if topic == SERVE:
            self.serves = value
            self.told.set()
        elif topic == DISK:
            self.disk.failures, self.disk.failing, self.disk.unsynced_s = value


async def work(start: WorkerStart, listener: socket.socket, line: socket.socket) -> None:
    """Serve until told to stop, or until the parent has gone."""
    end = WorkerEnd(start.number, start.place, StoreDisk(), start.again)
    end.channel = Channel(line, answer=end.answer, heard=end.heard)
    await end.channel.open()
    hearing = asyncio.create_task(_hear(end), name="worker:parent")
    store = replace(start.store, sync=end.disk if start.has_disk else None)
    try:
        from cacheserver.app import run

        await run(start.settings, store, listener, announce=lambda line: None, worker=end)
    except CacheServerError as error:
        end.channel.say(FAILED, [isinstance(error, SettingsError), str(error)])
        sys.exit(exit_status(error))
    finally:
        hearing.cancel()
        await end.channel.finish()


async def _hear(end: WorkerEnd) -> None:
    await end.channel.listen()
    logger.warning("the process that started this worker has gone; it ends")
    end.told.set()
    signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Read the start from standard input, the sockets by the numbers of the arguments."""
    gc.disable()  # `app.run` collects again
    start: WorkerStart = pickle.load(sys.stdin.buffer)  # the parent wrote it, of its own values
    logs.install(start.settings.log_level, start.settings.log_format)
    listener, line = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for each in (listener, line):
        each.set_inheritable(False)  # a process that outlives us would hold them
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work(start, listener, line))


if __name__ == "__main__":
    main()
