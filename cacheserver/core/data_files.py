"""Weights and word lists that ship as files beside the modules that use them.

They are constants: what a file holds is part of the version. Each is read once, at import.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def text(package: str, name: str) -> str:
    """Return the text of `name` in the folder `data` of `package`."""
    return (resources.files(package) / "data" / name).read_text(encoding="utf-8")


def table(package: str, name: str) -> dict[str, Any]:
    """Return the object that a JSON file in the folder `data` of `package` holds."""
    found: dict[str, Any] = json.loads(text(package, name))
    return found
