"""The parent of the workers: starts them, starts them again, adds up what they count."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cacheserver.api.server import address
from cacheserver.config.embedder_settings import MINILM
from cacheserver.config.settings import Settings, is_url
from cacheserver.core.errors import CacheServerError, SettingsError, StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.times import iso
from cacheserver.embedded import build as embedded
from cacheserver.observability.merged_metrics import Families, counted, exported, merged
from cacheserver.observability.server_counts import CHECKS, FAMILIES
from cacheserver.pricing import price_file
from cacheserver.storage.build import StoreServer
from cacheserver.storage.data_loss_watch import DiskSync
from cacheserver.workers import process, snapshots
from cacheserver.workers.channel import Channel
from cacheserver.workers.process import WorkerStart

_LOOK_S: Final = 5.0  # between looks at the counts: a worker that is killed takes so much with it
_SILENT: Final = 6  # looks without an answer, 42 s: a worker that hangs; gunicorn's `timeout` is 30
_WAIT_S: Final = 2.0  # for a worker: with a queue of requests it takes its time
_CHECK_S: Final = 4.0  # for its checks, some of which wait for the store
_DISK_S: Final = 1.0  # as often as the store's files are synced
_LIVED_S: Final = 10.0  # after this a worker that ends is started again at once
_LONGEST_PAUSE_S: Final = 30.0  # between restarts of a worker that keeps ending, as of the store
_FIRST_PAUSE_S: Final = 0.1

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    """One place among the workers, whichever process has it."""

    number: int
    process: Process | None = None
    channel: Channel | None = None
    listener: socket.socket | None = None  # of a process that does not listen yet
    is_ready: bool = False
    since: float = 0.0  # Unix seconds
    restarts: int = 0
    counts: Families = field(default_factory=list)  # of the process, as of the last look
    silent: int = 0  # looks without an answer
    failure: CacheServerError | None = None
    sync_failures: int = 0  # of the store, that this worker or one before it was told of
    sync_failures_before: int = 0  # of those, told before this process: each is counted once


async def supervise(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Serve with several workers until SIGTERM or SIGINT. Raises as `serving.serve`."""
    gc.enable()
    if not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsError("`CACHESERVER_WORKERS`: this system cannot share a port; set it to 1")
    with address.bound(settings.host, settings.port, shared=True) as held:
        price_file.read_price_file(settings)  # it is refused before anything is started
        async with embedded.build(settings) as store:
            snapshots.drop_those_beyond(settings.data_dir, settings.workers)
            await asyncio.to_thread(_export_model, settings)
            with tempfile.TemporaryDirectory(prefix="cacheserver-") as folder:  # 0700
                await Supervisor(settings, store, held, announce, Path(folder) / "first").run()


def _export_model(settings: Settings) -> None:
    """Export the embedding model if need be: once, not by each worker. Raises `SettingsError`."""
    if settings.embedder != MINILM and not is_url(settings.embedder):
        from cacheserver.embedding.exported import exported_folder

        exported_folder(settings.embedder, settings.data_dir)


class Supervisor:
    """The workers of one command. `held` is the shared socket on their address."""

    def __init__(
        self,
        settings: Settings,
        store: StoreServer,
        held: socket.socket,
        announce: Callable[[str], None],
        place: Path,
    ) -> None:
        """`place` is for the socket on which the first worker listens to the others."""
        self._settings = settings
        self._store = store
        self._held = held
        self._announce = announce
        self._place = place
        self._workers = [_Worker(number) for number in range(settings.workers)]
        self._lines: list[str] = []
        self._serving = False  # all have been ready once
        self._stopping = asyncio.Event()
        self._ended: Families = []  # what processes that have ended had counted

    async def run(self) -> None:
        """Run the workers until a signal, or until one does not start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        kept = [
            asyncio.create_task(self._keep(one), name=f"worker:{one.number}")
            for one in self._workers
        ]
        looks = [asyncio.create_task(self._look(), name="workers:counts")]
        if self._store.sync is not None:
            tell = self._tell_disk(self._store.sync)
            looks.append(asyncio.create_task(tell, name="workers:disk"))
        try:
            await asyncio.wait(kept, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._stop(signal.SIGTERM)
            await asyncio.wait(kept)
            for task in looks:
                await end(task)
        for one in kept:
            one.result()

    def _stop(self, number: int) -> None:
        """Pass a signal on: the first ends the workers once their streams have ended."""
        self._stopping.set()
        for one in self._workers:
            if one.process is not None and one.process.returncode is None:
                if one.channel is not None:
                    # Nobody waits for the others. Of a command that has not begun to serve none may
                    # listen: another server may have the address.
                    one.channel.say(process.SERVE, self._serving)
                with suppress(ProcessLookupError):
                    # Before it is ready nothing of it catches Ctrl-C.
                    one.process.send_signal(number if one.is_ready else signal.SIGTERM)

    async def _keep(self, worker: _Worker) -> None:
        """Have a process in this place until the end. Raises if the first does not start."""
        pause_s = 0.0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                status = await self._run(worker)
            except OSError as error:  # no memory, no files left
                logger.error("worker %d cannot be started: %s", worker.number, error.strerror)
                status = -1
            except SettingsError as error:  # another server has its address by now
                self._heard(worker, process.FAILED, [True, str(error)])
                status = -1
            if self._stopping.is_set():
                return
            if not self._serving:
                raise worker.failure or SettingsError(
                    f"a worker did not start (exit {status}); its log says why"
                )
            pause_s = 0.0 if time.monotonic() - began > _LIVED_S else _longer(pause_s)
            worker.restarts += 1
            logger.warning(
                "worker %d ended unexpectedly (exit %d); it is started again in %.1f s",
                worker.number,
                status,
                pause_s,
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def _run(self, worker: _Worker) -> int:
        """Run one process to its end; return its exit status."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                worker.listener = address.beside(self._held)
                numbers = (worker.listener.fileno(), theirs.fileno())
                worker.process = started = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", process.__name__, *map(str, numbers)),
                    stdin=PIPE,
                    pass_fds=numbers,
                    start_new_session=True,  # Ctrl-C is for the parent
                )
        except BaseException:
            ours.close()
            _drop_listener(worker)
            raise
        worker.since = time.time()
        worker.sync_failures_before = worker.sync_failures
        channel = Channel(
            ours,
            answer=self._answer,
            heard=lambda topic, value: self._heard(worker, topic, value),
        )
        worker.channel = channel
        await channel.open()
        listening = asyncio.create_task(channel.listen(), name=f"worker:{worker.number}:channel")
        if self._stopping.is_set():
            self._stop(signal.SIGTERM)
        try:
            given = pickle.dumps(self._start(worker.number))
            with suppress(OSError):  # it has ended: its status is what counts
                await started.communicate(given)
            await listening  # what it said last has been read
        finally:
            if started.returncode is None:  # cancelled
                started.kill()
                await started.wait()
            await end(listening)
            worker.channel, worker.is_ready, worker.silent = None, False, 0
            _drop_listener(worker)
            self._ended = exported(merged([self._ended, counted(worker.counts)]))
            worker.counts = []
        assert started.returncode is not None
        return started.returncode

    def _start(self, number: int) -> WorkerStart:
        server = self._store
        plain = StoreServer(
            server.url, server.prefix, server.tls, server.replicas, None, tuple(server.repairs)
        )
        has_disk = server.sync is not None
        return WorkerStart(
            number, self._settings, plain, has_disk, self._place, again=self._serving
        )

    def _heard(self, worker: _Worker, topic: str, value: Any) -> None:
        if topic == process.FAILED:
            is_setting, message = value
            worker.failure = SettingsError(message) if is_setting else StoreError(message)
            if self._serving:  # else it is raised, once for all of them
                logger.error("worker %d does not start: %s", worker.number, message)
        elif topic == FAMILIES:
            worker.counts = value
        elif topic == process.READY:
            worker.is_ready = True
            if worker.number == 0:
                self._lines = value
            if self._serving:
                _let_listen(worker)
            elif not self._stopping.is_set() and all(one.is_ready for one in self._workers):
                self._begin()

    def _begin(self) -> None:
        """Let all workers listen: the first request finds all of them ready."""
        first = self._workers[0].listener
        assert first is not None
        try:
            address.listen_first(first)
        except SettingsError as error:
            for one in self._workers:
                one.failure = error
                assert one.channel is not None
                one.channel.say(process.SERVE, False)
            return
        self._serving = True
        for one in self._workers:
            _let_listen(one)
        for line in self._lines:
            self._announce(line)
        self._announce(f"{len(self._workers)} workers serve it.")

    async def _answer(self, topic: str) -> Any:
        """Answer a worker that asks for what all have."""
        if topic == FAMILIES:
            await self._count()
            return [*(one.counts for one in self._workers if one.counts), self._ended, self._own()]
        if topic == CHECKS:
            found = await asyncio.gather(
                *(self._asked(one, topic, _CHECK_S) for one in self._workers)
            )
            silent = [number for number, one in enumerate(found) if one is None]
            return [*(one for one in found if one is not None), [self._check(silent)]]
        return None

    def _own(self) -> Families:
        restarts = float(sum(one.restarts for one in self._workers))
        ready = float(sum(one.is_ready for one in self._workers))
        name, gauge = "cacheserver_worker_restarts", "cacheserver_workers"
        help = "Workers that ended unexpectedly and were started again"
        return [
            [name, "counter", help, [[f"{name}_total", {}, restarts]]],
            [gauge, "gauge", "Workers that are ready", [[gauge, {}, ready]]],
        ]

    def _check(self, silent: Sequence[int]) -> dict[str, Any]:
        """Return the check of health of the workers. `silent`: those that did not answer."""
        facts = [
            {
                "number": one.number,
                "pid": None if one.process is None or not one.is_ready else one.process.pid,
                "since": iso(one.since),
                "restarts": one.restarts,
            }
            for one in self._workers
        ]
        found = f"{len(self._workers) - len(silent)} of {len(self._workers)} workers answer"
        do = "Wait: a worker that ends is started again. If it goes on, the log says why."
        return {
            "name": "workers",
            "status": "degraded" if silent else "ok",
            "found": found,
            "do": do if silent else None,
            "facts": {"workers": facts},
        }

    async def _count(self) -> None:
        """Look at what each worker has counted; one that does not answer keeps what it had."""

        async def look(one: _Worker) -> None:
            # Kept at once: once others have answered, another process may be in this place.
            if (found := await self._asked(one, FAMILIES)) is not None:
                one.counts, one.silent = found, 0

        await asyncio.gather(*(look(one) for one in self._workers))

    async def _asked(self, worker: _Worker, topic: str, wait_s: float = _WAIT_S) -> Any:
        if worker.channel is None or not worker.is_ready:
            return None
        try:
            return await worker.channel.ask(topic, wait_s=wait_s)
        except (OSError, TimeoutError):
            return None

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for one in self._workers:
                one.silent += one.is_ready
            await self._count()
            for one in self._workers:
                if one.silent >= _SILENT:  # also when all end: a stop does not wait for it
                    self._end_hung(one)

    def _end_hung(self, worker: _Worker) -> None:
        """Kill a worker that does not answer: the kernel would go on giving it connections."""
        logger.error("worker %d does not answer any more; it is killed", worker.number)
        worker.silent = 0
        if worker.process is not None:
            with suppress(ProcessLookupError):
                worker.process.kill()

    async def _tell_disk(self, sync: DiskSync) -> None:
        while True:
            await asyncio.sleep(_DISK_S)
            for one in self._workers:
                if one.channel is not None:
                    if one.number == 0:  # they are counted once
                        one.sync_failures = sync.failures
                    failures = one.sync_failures - one.sync_failures_before
                    one.channel.say(process.DISK, [failures, sync.failing, sync.unsynced_s])


def _let_listen(worker: _Worker) -> None:
    """Begin to listen for a worker: who reads the address may connect at once."""
    assert worker.channel is not None
    assert worker.listener is not None
    worker.listener.listen()
    worker.channel.say(process.SERVE, True)
    _drop_listener(worker)


def _drop_listener(worker: _Worker) -> None:
    if worker.listener is not None:
        worker.listener.close()
        worker.listener = None


def _longer(pause_s: float) -> float:
    return min(max(_FIRST_PAUSE_S, 2 * pause_s), _LONGEST_PAUSE_S)
