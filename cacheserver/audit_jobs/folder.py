"""Files of audits: `audits/<id>/` in the data directory, for the server's user alone.

Rule: nothing here is readable by others, and one server uses the folder at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from cacheserver.audit_jobs.job import AuditJob, read_stored, stored
from cacheserver.core.errors import BadRequest, DiskFull, TooLarge
from cacheserver.storage.sealer import MARK

_JOB: Final = "job.json"
_UPLOAD: Final = "upload"  # the folder of the uploaded file, which keeps its name
_PRICES: Final = "prices.toml"
TEMPORARY: Final = "tmp"  # the folder for what is sorted through disk: it holds prompts
_PARTIAL: Final = ".partial-"  # begins the name of a folder that is not complete, or deleted
_LOOKED_AT: Final = 4_096  # bytes that tell a text from another file
_PIECE: Final = 1 << 20  # bytes written at once: 1 ms, in a thread

# The store of this server, its snapshots and logs are on the same disk. 1 GB lets it write for
# hours at a thousand requests a second; what an audit sorts takes about its upload once more.
SPARE_BYTES: Final = 1_000_000_000


class AuditFolder:
    """The folder of all audits. Every method but `receive` blocks; call it in a thread."""

    def __init__(self, root: Path, *, spare: int = SPARE_BYTES) -> None:
        self._root = root
        self._spare = spare
        self._lock: int | None = None

    def hold(self) -> bool:
        """Take the folder, and make it if there is none; False if another server has it.

        Raises `OSError` where it cannot be written.
        """
        if self._lock is not None:
            return True
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def read(self) -> tuple[list[AuditJob], int]:
        """Return the jobs that there are, and the number of those that could not be read.

        The latter are deleted, and so is what a server before this one left unfinished. One that
        the disk does not give now is left as it is.
        """
        found: list[AuditJob] = []
        bad = 0
        for place in [each for each in self._root.iterdir() if each.is_dir()]:
            if place.name.startswith(_PARTIAL):
                shutil.rmtree(place, ignore_errors=True)
                continue
            try:
                found.append(read_stored(json.loads((place / _JOB).read_bytes())))
            except (FileNotFoundError, ValueError, TypeError, LookupError):
                bad += 1
                shutil.rmtree(place, ignore_errors=True)
            except OSError:
                bad += 1
        return found, bad

    def close(self) -> None:
        """Release the folder. Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def receive(
        self, id: str, name: str, chunks: AsyncIterator[bytes], *, announced: int, most: int
    ) -> int:
        """Write an upload as it comes and return its size in bytes. `announced` 0: unknown.

        Nothing of it stays if that fails. Raises `TooLarge`, `DiskFull`, and `BadRequest` for what
        is no log.
        """
        if announced > most:
            raise _too_large(most)
        place = self._root / f"{_PARTIAL}{id}"
        size, held, seen = 0, bytearray(), False
        try:
            await asyncio.to_thread(self._make, place, announced)
            with await asyncio.to_thread((place / _UPLOAD / name).open, "xb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > most:
                        raise _too_large(most)
                    held += chunk
                    if not seen and len(held) >= _LOOKED_AT:
                        seen = True
                        _refuse_binary(held)
                    if len(held) >= _PIECE:
                        await asyncio.to_thread(self._write, file, bytes(held))
                        held.clear()
                if not seen:
                    _refuse_binary(held)
                await asyncio.to_thread(self._write, file, bytes(held))
            if size == 0:
                raise BadRequest("body", "is empty; send a log file")
            await asyncio.to_thread(place.rename, self._root / id)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, place, True))
            raise
        return size

    def keep(self, job: AuditJob) -> None:
        """Write a job's state, at once or not at all."""
        self.replace(job.id, _JOB, json.dumps(stored(job)).encode())

    def of(self, id: str) -> Path:
        """Return the folder of a job."""
        return self._root / id

    def upload(self, job: AuditJob) -> Path:
        """Return the uploaded file of a job that has not ended."""
        return self.of(job.id) / _UPLOAD / job.name

    def drop_upload(self, id: str) -> None:
        """Delete a job's upload, and what its audit left beside it."""
        for name in (_UPLOAD, TEMPORARY):
            shutil.rmtree(self.of(id) / name, ignore_errors=True)

    def give_prices(self, id: str, text: str) -> Path:
        """Write the price file of a job's audit, beside what the audit sorts. Returns its path."""
        place = self.of(id) / TEMPORARY
        place.mkdir(mode=0o700, exist_ok=True)
        path = place / _PRICES
        path.write_text(text, encoding="utf-8")
        return path

    def replace(self, id: str, name: str, data: bytes) -> None:
        """Write a file of a job, at once or not at all."""
        new = self.of(id) / f"{name}.new"
        new.write_bytes(data)
        new.replace(self.of(id) / name)

    def drop_plain(self, id: str, names: Sequence[str]) -> None:
        """Delete those of a job's files that are not encrypted."""
        for name in names:
            path = self.of(id) / name
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if file.read(len(MARK)) != MARK:
                    path.unlink()

    def delete(self, id: str) -> None:
        """Delete all of a job. It is gone at once, whatever a thread still writes into it."""
        gone = self._root / f"{_PARTIAL}{id}"
        with contextlib.suppress(FileNotFoundError):
            self.of(id).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    @property
    def room(self) -> int:
        """Return how many bytes may be written before less than the spare room is left."""
        return shutil.disk_usage(self._root).free - self._spare

    @property
    def there(self) -> bool:
        return self._root.is_dir()

    def _make(self, place: Path, announced: int) -> None:
        self._refuse_full(announced)
        place.mkdir(mode=0o700)
        (place / _UPLOAD).mkdir(mode=0o700)

    def _write(self, file: BinaryIO, data: bytes) -> None:
        self._refuse_full(len(data))
        try:
            file.write(data)
            file.flush()
        except OSError as error:
            raise disk_full() from error

    def _refuse_full(self, coming: int) -> None:
        if self.room < coming:
            raise disk_full()


def _refuse_binary(start: bytearray) -> None:
    """Refuse what begins neither as gzip nor as text: no format of logs has zero bytes."""
    if not start.startswith(b"\x1f\x8b") and b"\x00" in start[:_LOOKED_AT]:
        raise BadRequest("body", "is no log: send JSON lines, a JSON document or CSV, or gzip")


def _too_large(most: int) -> TooLarge:
    message = (
        f"the log is larger than {most} bytes (`CACHESERVER_MAX_AUDIT_BYTES`); send it gzipped"
    )
    return TooLarge(f"{message}, or a part of it", headers={"connection": "close"})


def disk_full() -> DiskFull:
    message = "the server's disk has too little room for this log and its audit"
    return DiskFull(message, headers={"connection": "close"})
