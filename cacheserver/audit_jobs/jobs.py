"""Audit jobs: taken, run one at a time, looked at, deleted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cacheserver.audit_jobs.folder import AuditFolder, disk_full
from cacheserver.audit_jobs.job import (
    INTERRUPTED,
    PAGE,
    REPORT,
    AuditJob,
    AuditOptions,
    AuditProgress,
    arguments,
    summary_of,
)
from cacheserver.audit_jobs.process import AuditProcess
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest, Conflict, DiskFull, StoreError
from cacheserver.core.single_flight import end
from cacheserver.observability.logs import place
from cacheserver.storage.sealer import STORE, Sealer

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 10  # jobs that have not ended, uploads under way among them
_SWEEP_S: Final = 3_600.0
_KIND: Final = "audits"  # as values are sealed
_SITE: Final = "audit-jobs"
_BROKE: Final = "this server could not run it; its log says where it failed"
_NOTHING: Final = "nothing in it could be read; `bad_shown` has the first lines that could not"
_STATUS_NOTHING: Final = 1  # of the command, which has written a report all the same


class AuditJobs:
    """The audits of this server. `keep_s`: how long one is kept after its end.

    `prices` returns the text of a price file that has the prices in force; "": none but the
    package's. It is called in a thread.
    """

    def __init__(
        self,
        folder: AuditFolder,
        process: AuditProcess,
        *,
        sealer: Sealer,
        clock: Callable[[], float],
        swallowed: Callable[[str], object],
        prices: Callable[[], str],
        most_bytes: int,
        keep_s: float,
    ) -> None:
        self._folder = folder
        self._process = process
        self._sealer = sealer
        self._clock = clock
        self._swallowed = swallowed
        self._most_bytes = most_bytes
        self._keep_s = keep_s
        self._jobs: dict[str, AuditJob] = {}
        self._prices = prices
        self._held = False  # the folder is ours, and its jobs have been read
        self._holding = asyncio.Lock()
        self._coming = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._running: tuple[str, asyncio.Task[None]] | None = None

    async def start(self) -> None:
        """Read what there is, and go on with what waits. What ran as the server died has failed."""
        if self._folder.there:
            await self._hold()
        self._tasks = [
            asyncio.create_task(self._work(), name="audit-jobs:work"),
            asyncio.create_task(self._sweep_hourly(), name="audit-jobs:sweep"),
        ]

    async def _resume(self, jobs: Sequence[AuditJob], bad: int) -> None:
        for _ in range(bad):
            self._swallowed(_SITE)
        for job in jobs:
            self._jobs[job.id] = job
            if job.state == "running":
                await self._ended(job.failed(INTERRUPTED, self._clock()))
        self._wake.set()

    async def close(self) -> None:
        """Stop the audit that runs, which is then interrupted. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await end(task)
        if self._running is not None:
            await end(self._running[1])
        self._folder.close()

    async def ready(self) -> None:
        """Take the folder if the server that had it has left it.

        Raises `Conflict` if another server has it, or it cannot be written.
        """
        if not self._held and self._folder.there:
            await self._take_folder()

    def check(self, name: str) -> None:
        """Raise `Conflict` if no audit can be taken now, and `BadRequest` for a file's name."""
        if not (1 <= len(name) <= 100) or name.startswith((".", "-")) or not _plain(name):
            raise BadRequest("name", "must be a file's name of letters, digits, `.`, `_` and `-`")
        waiting = self._coming + sum(not job.ended for job in self._jobs.values())
        if waiting >= MOST_WAITING:
            raise Conflict(
                f"{waiting} audits wait already; delete one, or wait for the next to end"
            )

    async def take(
        self, name: str, options: AuditOptions, chunks: AsyncIterator[bytes], *, announced: int = 0
    ) -> AuditJob:
        """Take an upload of `announced` bytes (0: unknown) and queue its audit.

        Raises as `ready`, `check` and `AuditFolder.receive` do.
        """
        await self._take_folder()
        self.check(name)
        id = f"audit_{secrets.token_hex(12)}"
        self._coming += 1
        try:
            size = await self._folder.receive(
                id, name, chunks, announced=announced, most=self._most_bytes
            )
        finally:
            self._coming -= 1
        job = AuditJob(id, name, size, options, self._clock())
        try:
            await self._keep(job)
        except OSError as error:
            await self.delete(id)
            raise disk_full() from error
        self._wake.set()
        return job

    def get(self, id: str) -> AuditJob | None:
        """Return a job; None if there is none, or it is too old."""
        job = self._jobs.get(id)
        return None if job is None or self._old(job) else job

    def expires_at(self, job: AuditJob) -> float | None:
        """Return when a job that has ended is deleted."""
        return None if job.ended_at is None else job.ended_at + self._keep_s

    def page(
        self, *, limit: int, after: tuple[float, str] | None = None
    ) -> tuple[Sequence[AuditJob], AuditJob | None]:
        """Return jobs, newest first, and the last of them if others follow."""
        found = sorted(
            (
                job
                for job in self._jobs.values()
                if not self._old(job) and (after is None or job.place < after)
            ),
            key=lambda job: job.place,
            reverse=True,
        )
        return found[:limit], found[limit - 1] if len(found) > limit else None

    async def report(self, job: AuditJob) -> dict[str, Any] | None:
        """Return the report of a job; None if it has none."""
        raw = await self._result(job, REPORT)
        return None if raw is None else self._sealer.decoded(lambda: dict(json_text.loads(raw)))

    async def html(self, job: AuditJob) -> bytes | None:
        """Return the report as a page; None if there is none."""
        return await self._result(job, PAGE)

    async def delete(self, id: str) -> AuditJob | None:
        """End a job and delete all of it. Return what it was; None if there is none."""
        if self.get(id) is None:
            return None
        job = self._jobs.pop(id)
        if self._running is not None and self._running[0] == id:
            await end(self._running[1])
        await asyncio.to_thread(self._folder.delete, id)
        return job

    async def sweep(self) -> None:
        """Delete the jobs that have been kept long enough."""
        for job in [job for job in self._jobs.values() if self._old(job)]:
            del self._jobs[job.id]
            await asyncio.to_thread(self._folder.delete, job.id)

    def _old(self, job: AuditJob) -> bool:
        until = self.expires_at(job)
        return until is not None and until <= self._clock()

    async def _take_folder(self) -> None:
        if not await self._hold():
            raise Conflict(
                "audits are run by another server that uses this data directory, or it cannot be "
                "written"
            )

    async def _hold(self) -> bool:
        """Take the folder and the jobs in it; False if that cannot be done now."""
        async with self._holding:
            if self._held:
                return True
            try:
                if not await asyncio.to_thread(self._folder.hold):
                    return False
                await self._resume(*(await asyncio.to_thread(self._folder.read)))
            except OSError:
                self._swallowed(_SITE)
                return False
            self._held = True
            return True

    async def _work(self) -> None:
        while True:
            waiting = [job for job in self._jobs.values() if job.state == "queued"]
            if not waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            job = min(waiting, key=lambda job: job.place)
            task = asyncio.create_task(self._run(job), name="audit-jobs:run")
            self._running = job.id, task
            await asyncio.wait([task])
            self._running = None
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("an audit of a log failed: %s", place(error))
                self._swallowed(_SITE)
                await self._give_up(job.id)

    async def _run(self, job: AuditJob) -> None:
        job = replace(job, state="running", started_at=self._clock())
        await self._keep(job)

        def note(progress: AuditProgress) -> None:
            if self._folder.room < 0:  # what the audit sorts may be larger than its upload
                raise disk_full()
            if job.id in self._jobs:
                self._jobs[job.id] = replace(job, progress=progress)

        try:
            status, error = await self._audited(job, note)
            now = self._clock()
            if status not in (0, _STATUS_NOTHING):
                await self._ended(job.failed(error or f"ended with status {status}", now))
                return
            await self._seal(job)
        except DiskFull as error:
            await self._ended(job.failed(error.message, self._clock()))
            return
        except BaseException:
            await asyncio.shield(self._drop_plain(job.id))
            raise
        summary = summary_of(await self.report(replace(job, state="done")) or {})
        job = replace(job, summary=summary, ended_at=now, state="done")
        await self._ended(job.failed(_NOTHING, now) if status else job)

    async def _audited(
        self, job: AuditJob, note: Callable[[AuditProgress], object]
    ) -> tuple[int, str | None]:
        """Run the audit, at the prices in force. Returns as `AuditProcess.run` does."""
        folder, room = self._folder.of(job.id), self._folder.room
        if room <= 0:
            raise disk_full()
        text, prices = await asyncio.to_thread(self._prices), None
        if text:
            prices = str(await asyncio.to_thread(self._folder.give_prices, job.id, text))
        words = arguments(job.options, str(self._folder.upload(job)), str(folder), prices=prices)
        return await self._process.run(words, folder, note, most_file=room)

    async def _give_up(self, id: str) -> None:
        if (job := self._jobs.get(id)) is not None:
            self._jobs[id] = job.failed(_BROKE, self._clock())
            try:
                await self._ended(self._jobs[id])
            except OSError:  # the disk is full; after a start it is interrupted
                self._swallowed(_SITE)

    async def _ended(self, job: AuditJob) -> None:
        await asyncio.to_thread(self._folder.drop_upload, job.id)
        await self._drop_plain(job.id)
        await self._keep(job)

    async def _keep(self, job: AuditJob) -> None:
        self._jobs[job.id] = job
        await asyncio.to_thread(self._folder.keep, job)

    async def _drop_plain(self, id: str) -> None:
        """Delete results that were to be encrypted and are not: the audit did not get so far."""
        if self._sealer.on:
            await asyncio.to_thread(self._folder.drop_plain, id, (REPORT, PAGE))

    async def _seal(self, job: AuditJob) -> None:
        """Encrypt the results, where the store encrypts: both hold words of prompts."""
        if not self._sealer.on:
            return
        await self._sealer.ready(STORE)
        for name in (REPORT, PAGE):
            path = self._folder.of(job.id) / name
            plain = await asyncio.to_thread(path.read_bytes)
            sealed = self._sealer.seal(_KIND, STORE, f"{job.id}:{name}", plain)
            await asyncio.to_thread(self._folder.replace, job.id, name, sealed)

    async def _result(self, job: AuditJob, name: str) -> bytes | None:
        if not job.ended:
            return None
        try:
            value = await asyncio.to_thread((self._folder.of(job.id) / name).read_bytes)
        except OSError:
            return None
        with contextlib.suppress(StoreError):  # a key that is known already opens it
            await self._sealer.know([value])
        return self._sealer.opened(_KIND, STORE, f"{job.id}:{name}", value)

    async def _sweep_hourly(self) -> None:
        while True:
            if self._folder.there:
                await self._hold()
            await self.sweep()
            await asyncio.sleep(_SWEEP_S)


def _plain(name: str) -> bool:
    return name.isascii() and all(one.isalnum() or one in "._-" for one in name)


def folder_of(data_dir: Path) -> Path:
    """Return the folder of audits in a data directory."""
    return data_dir / "audits"
