"""A disk that fails on demand, and files that are damaged between two lives of a server."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.chaos_run.processes import ROOT

_SOURCE = ROOT / "tests" / "embedded" / "disk.c"


def shim(folder: Path) -> Path | None:
    """The library that makes a disk slow or full, to be preloaded; None where none can be made."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    made = folder / "disk.so"
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, _SOURCE], check=False)
    return made if done.returncode == 0 else None


def files(data: Path) -> list[Path]:
    """The append-only files that grow, the newest last."""
    return sorted((data / "store" / "appendonlydir").glob("*.incr.aof"))


def zero_tail(data: Path, draw: random.Random) -> None:
    """Zeros at the end, as a file system leaves them that wrote the size before the data."""
    with files(data)[-1].open("ab") as file:
        file.write(bytes(draw.choice((1, 512, 4_096, 70_000))))


def torn_tail(data: Path, draw: random.Random) -> None:
    """The beginning of a command whose rest never came."""
    whole = b"*3\r\n$3\r\nSET\r\n$5\r\nnever\r\n$4\r\nsaid\r\n"
    with files(data)[-1].open("ab") as file:
        file.write(whole[: draw.randrange(1, len(whole) - 1)])


def damage_snapshot(data: Path, draw: random.Random) -> None:
    """Another byte somewhere in the index snapshot."""
    snapshot = data / "index.snapshot"
    if snapshot.exists():
        content = bytearray(snapshot.read_bytes())
        place = draw.randrange(len(content))
        content[place] ^= 0xFF
        snapshot.write_bytes(content)


def lose_snapshot(data: Path, draw: random.Random) -> None:
    (data / "index.snapshot").unlink(missing_ok=True)
