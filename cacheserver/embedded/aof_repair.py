"""Repair of the embedded store's append-only files after a power cut or a disk error.

Rule: nothing is deleted. What is cut off or replaced is kept beside its file as
`NAME.damaged-TIME`. On its own the server cuts only what is lost anyway: bytes after the last sync,
and damage with no complete command after it. It refuses other damage and names the file, because a
cut would also drop purges and revoked keys; `cacheserver repair` makes that cut on request.

Valkey's own checkers examine the files: its binary acts as `redis-check-aof` or `redis-check-rdb`
when started under that name. Reading never continues after damage: what looks like a command there
may be text that a user wrote.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cacheserver.core.errors import SettingsError
from cacheserver.embedded.aof_sync import synced_sizes

MANIFEST: Final = "appendonly.aof.manifest"

Type: TypeAlias = Literal["b", "i", "h"]  # base, incremental, history: as the manifest has it

# `file NAME seq N type T`; of names the server makes, none needs quotes.
_LINE = re.compile(r"file (\S+) seq (\d+) type ([bih])")
_NAME = re.compile(r"appendonly\.aof\.(\d+)\.(?:(base)\.(?:rdb|aof)|(incr)\.aof)")
_ANALYZED = re.compile(r"size=(\d+), ok_up_to=(\d+)")
_COMMAND = re.compile(rb"\*\d{1,7}\r\n\$(\d{1,9})\r\n")
_COPY_BYTES: Final = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Listed:
    name: str
    seq: int
    type: Type

    def line(self) -> str:
        return f"file {self.name} seq {self.seq} type {self.type}\n"


class AofRepair:
    """Repair of the files in `directory`. `binary` is the server's; `now` returns Unix seconds.

    `forced`: also cut damage that is refused otherwise, if some data can be kept.
    """

    def __init__(
        self,
        directory: Path,
        binary: Path,
        *,
        forced: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dir = directory
        self._folder = directory / "appendonlydir"
        self._binary = binary
        self._forced = forced
        self._mark = time.strftime("damaged-%Y%m%dT%H%M%SZ", time.gmtime(now()))
        self._done: list[str] = []

    def manifest(self) -> list[str]:
        """Recreate a missing or damaged manifest; returns sentences on what was done.

        Without a manifest the server would silently begin an empty store. Raises `SettingsError`
        if the manifest cannot be derived from the files.
        """
        if _listed(self._folder) is None and any(_files(self._folder)):
            self._make_manifest()
        return self._taken()

    def files(self) -> list[str]:
        """Check every file and cut off damage; returns sentences on what was done.

        Raises `SettingsError` for damage that only `forced` may cut.
        """
        old_style = self._dir / "appendonly.aof"
        if old_style.is_file():
            self._check(old_style, last=True)
        listed = [one for one in _listed(self._folder) or [] if one.type != "h"]
        missing = [one for one in listed if not (self._folder / one.name).is_file()]
        if missing:
            self._drop_missing(listed, missing)
        for one in listed:
            if one in missing:
                continue
            if one.name.endswith(".rdb"):
                self._check_snapshot(self._folder / one.name)
            else:
                self._check(self._folder / one.name, last=one == listed[-1])
        return self._taken()

    def _taken(self) -> list[str]:
        done, self._done = self._done, []
        for sentence in done:
            log.warning("the store was repaired: %s", sentence)
        return done

    def _make_manifest(self) -> None:
        found = list(_files(self._folder))
        bases = [one for one in found if one.type == "b"]
        increments = sorted((one for one in found if one.type == "i"), key=lambda one: one.seq)
        path = self._folder / MANIFEST
        # A file that a rewrite has replaced but not yet deleted must not be replayed on top of it.
        # One base and one increment are certain. A rewrite begins a new increment and ends with a
        # new base, so two increments mean that a rewrite was running.
        certain = len(bases) <= 1 and len(increments) <= 1
        if not certain and not (self._forced and len(bases) == 1):
            names = ", ".join(one.name for one in sorted(found, key=lambda one: one.name))
            raise self._refusal(
                path, f"is missing or damaged, and the files ({names}) are ambiguous"
            )
        if path.exists():
            path.replace(self._aside(path))
        _write(path, "".join(one.line() for one in (*bases, *increments)))
        self._done.append(f"{path} was missing or damaged and was recreated from the files there")

    def _drop_missing(self, listed: list[_Listed], missing: list[_Listed]) -> None:
        first = self._folder / missing[0].name
        present = [one for one in listed if one not in missing]
        if not self._forced or not present:
            raise self._refusal(first, "is missing")
        path = self._folder / MANIFEST
        path.replace(self._aside(path))
        _write(path, "".join(one.line() for one in present))
        self._done.append(f"{first} is missing; what it held is lost")

    def _check_snapshot(self, path: Path) -> None:
        if self._run("redis-check-rdb", path).returncode:
            raise self._refusal(path, "is damaged, and a snapshot cannot be cut", repair=False)

    def _check(self, path: Path, *, last: bool) -> None:
        checked = self._run("redis-check-aof", path)
        if checked.returncode == 0:
            return
        found = _ANALYZED.search(checked.stdout)
        if found is None:
            raise self._refusal(path, "cannot be read", repair=False)
        size, good = int(found[1]), int(found[2])
        synced = synced_sizes(self._dir).get(path.name)
        powercut = synced is not None and good >= synced
        if not self._forced and not (last and (powercut or not _command_after(path, good))):
            raise self._refusal(path, f"is damaged at byte {good} of {size}")
        self._cut(path, good=good, size=size)

    def _cut(self, path: Path, *, good: int, size: int) -> None:
        aside = self._aside(path)
        fate = f"kept in {aside}"
        try:
            _copy_tail(path, aside, good)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if error.errno != errno.ENOSPC or _command_after(path, good):
                raise self._refusal(
                    path, f"is damaged at byte {good}, and there is no room to keep what is cut"
                ) from error
            fate = "not kept, for the disk is full"
        with path.open("rb+") as file:
            file.truncate(good)
            os.fsync(file.fileno())
        self._done.append(
            f"{path} was damaged at byte {good}: its last {size - good} bytes are cut off, {fate}"
        )

    def _run(self, name: str, path: Path) -> subprocess.CompletedProcess[str]:
        # `executable` gives the name that the binary looks at
        return subprocess.run(
            [name, os.fspath(path)],
            executable=self._binary,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def _aside(self, path: Path) -> Path:
        aside = path.with_name(f"{path.name}.{self._mark}")
        number = 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.{self._mark}-{number}")
        return aside

    def _refusal(self, path: Path, what: str, *, repair: bool = True) -> SettingsError:
        ways = "restore a backup: `cacheserver restore FILE --replace`"
        if repair and not self._forced:
            ways += "; or keep what lies before the damage: `cacheserver repair`"
        return SettingsError(
            f"`CACHESERVER_DATA_DIR`: {path} {what}. {ways[0].upper()}"
            f"{ways[1:]}; or move {self._dir} away to begin with an empty store"
        )


def _files(folder: Path) -> Iterator[_Listed]:
    """Yield the store's files, recognized by their names."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if named := _NAME.fullmatch(path.name):
            yield _Listed(path.name, int(named[1]), "b" if named[2] else "i")


def _listed(folder: Path) -> list[_Listed] | None:
    """Return the files that the manifest lists; None if it cannot be read."""
    try:
        lines = (folder / MANIFEST).read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [_LINE.fullmatch(line) for line in lines if not line.startswith("#")]
    listed: list[_Listed] = []
    for match in found:
        if match is None:
            return None
        kind = match[3]
        listed.append(_Listed(match[1], int(match[2]), "b" if kind == "b" else _other(kind)))
    return listed or None


def _other(kind: str) -> Type:
    return "i" if kind == "i" else "h"


def _command_after(path: Path, start: int) -> bool:
    """Return True if what looks like the start of a command follows byte `start`."""
    if path.stat().st_size <= start:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        at = start
        while (found := _COMMAND.search(data, at + 1)) is not None:
            at = found.start()
            end = found.end() + int(found[1])
            if data[end : end + 2] == b"\r\n":
                return True
        return False


def _copy_tail(path: Path, to: Path, start: int) -> None:
    with path.open("rb") as source, to.open("xb") as target:
        os.fchmod(target.fileno(), 0o600)
        source.seek(start)
        while chunk := source.read(_COPY_BYTES):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())


def _write(path: Path, text: str) -> None:
    """Write a small file atomically."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
