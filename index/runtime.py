"""ONNX Runtime, imported where it is needed, with its telemetry off."""

from __future__ import annotations

import os
from typing import Any


def onnxruntime() -> Any:
    """Import the runtime and return it.

    Since 1.29 its Linux and macOS wheels report every process and model to their maker, and keep a
    device id in the home folder, unless this variable is set before the first import.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as runtime

    return runtime
