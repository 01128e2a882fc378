"""Files of the index snapshots of workers, which share a data directory."""

from __future__ import annotations

from pathlib import Path


def drop_those_beyond(data_dir: Path, workers: int) -> None:
    """Delete the snapshots of workers that there are no more: they may hold what was erased."""
    for path in data_dir.glob("index-*.snapshot"):
        number = path.stem.removeprefix("index-")
        if number.isdecimal() and int(number) >= workers:
            path.unlink(missing_ok=True)
