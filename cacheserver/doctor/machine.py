"""Checks of this machine: Python, packages, the data directory, the disk and the port."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from cacheserver.doctor.check import Check, failed, ok, skipped, warning

_OLDEST: Final = (3, 11)
# What `serve` imports first of each part of the extra `server`.
_MODULES: Final = (
    *("anthropic", "cryptography", "faiss", "fastapi", "genai_prices", "numpy", "onnxruntime"),
    *("orjson", "pydantic", "redis", "tokenizers", "uvicorn"),
)
_LITTLE_BYTES: Final = 1_000_000_000  # an index snapshot and a rewritten log, as in `health`
_NONE_BYTES: Final = 100_000_000  # the log of some hours


def installed_version() -> str:
    """Return the version of this package; `source` where it is not installed."""
    try:
        return version("cacheserver")
    except PackageNotFoundError:
        return "source"


def check_installation() -> Check:
    """Check Python and the packages of the extra `server`."""
    found = f"cacheserver {installed_version()}, Python {platform.python_version()}"
    if sys.version_info < _OLDEST:
        return failed("install", found, "use Python 3.11 or newer")
    if missing := [name for name in _MODULES if importlib.util.find_spec(name) is None]:
        return failed(
            "install",
            f"{found}; not installed: {', '.join(missing)}",
            "install cacheserver's extra `server`; see docs/running.md",
        )
    return ok("install", found)


def check_workers(workers: int) -> Check:
    """Check that there is a core for each server process."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # fewer, where others have the rest
        cores = len(os.sched_getaffinity(0))
    found = f"{workers} workers on {cores} cores"
    if workers > cores:
        return warning("workers", found, f"set `CACHESERVER_WORKERS` to {cores} or less")
    return ok("workers", found)


def check_data_dir(folder: Path) -> Check:
    """Check that data can be written, and that there is room for more."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return failed("disk", f"{place} is no folder", "set `CACHESERVER_DATA_DIR` to a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        return failed(
            "disk",
            f"{place} cannot be written by this user",
            f"give it to the user that serves, or set `CACHESERVER_DATA_DIR` (now {folder})",
        )
    free = shutil.disk_usage(place).free
    found = f"{folder}: {free / 1e9:.1f} GB are free"
    if free < _NONE_BYTES:
        return failed("disk", found, "make room: writes will be refused within hours")
    if free < _LITTLE_BYTES:
        return warning("disk", found, "make room: less than 1 GB is left")
    return ok("disk", found)


def check_port(host: str, port: int) -> Check:
    """Check that a server could listen, where none of ours does."""
    if port == 0:
        return ok("port", "0: the system chooses a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)  # bound alone, another listener would not be noticed
    except OSError as error:
        return failed(
            "port",
            f"{host}:{port}: {error.strerror or error}",
            "end the other program, or set `CACHESERVER_PORT` (or `CACHESERVER_HOST`)",
        )
    return skipped("port", f"{host}:{port} is free; no server runs")
