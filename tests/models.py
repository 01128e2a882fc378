"""The real model for the tests: exported once into a folder that all runs share."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def model_dir() -> Path:
    """Return the exported model's folder, made and checked once a process.

    `CACHESERVER_MODEL_DIR` names it, else it is `var/model` in the checkout.
    """
    folder = Path(os.environ.get("CACHESERVER_MODEL_DIR") or ROOT / "var" / "model")
    # A process of its own: the tests' process stays free of torch. An intact model is left alone.
    command = [sys.executable, "-m", "cacheserver.index.export", "--to", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder
