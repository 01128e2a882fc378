"""What the tests of logs, traces and metrics share."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cacheserver.observability.logs import Json

CANARY = "canary-7f3a91"  # in everything a caller may write; to be in nothing that is told of it


@dataclass
class Lines:
    """What was logged, as JSON."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.all if line["logger"] == logger]


@pytest.fixture
def lines() -> Iterator[Lines]:
    found = Lines()
    handler = logging.StreamHandler(found.stream)
    handler.setFormatter(Json())
    root, ours = logging.getLogger(), logging.getLogger("cacheserver")
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)
