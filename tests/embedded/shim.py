"""The library that makes a disk bad, for `LD_PRELOAD`: see disk.c."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def built(folder: Path) -> Path:
    """Compile it into a folder; skips the test where it cannot be used."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a bad disk is made with a C compiler and LD_PRELOAD, and one is missing here")
    made = folder / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source], check=True)
    return made
