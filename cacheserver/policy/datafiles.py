"""Weights and word lists that ship as files beside the policies, which read nothing else.

They are constants: what a file holds is part of the version, and is read once.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

_HERE = resources.files("cacheserver.policy")


def text(name: str) -> str:
    """Return a file's text."""
    return (_HERE / name).read_text(encoding="utf-8")


def table(name: str) -> dict[str, Any]:
    """Return the object that a JSON file holds."""
    found: dict[str, Any] = json.loads(text(name))
    return found
