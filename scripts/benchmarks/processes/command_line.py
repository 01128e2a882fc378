"""A command of `cacheserver`, and what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Took:
    s: float
    cpu_s: float
    largest_mb: float  # of its processes


def timed(arguments: Sequence[str], *, cores: str = f"0-{(os.cpu_count() or 1) - 1}") -> Took:
    """Run `cacheserver ARGUMENTS` to its end. Raises `RuntimeError` if it fails."""
    environment = {
        "CACHESERVER_MODEL_DIR": str(Path("var/model").resolve()),
        **os.environ,
        "OMP_NUM_THREADS": "1",
    }
    began = time.perf_counter()
    command = ["taskset", "-c", cores, sys.executable, "-m", "cacheserver.cli", *arguments]
    with tempfile.TemporaryFile("w+") as errors:  # progress too
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(arguments)}: {errors.read()[-2_000:]}")
    return Took(took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
