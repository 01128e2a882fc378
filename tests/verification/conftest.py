"""One verifying house for the tests of a module, each with a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.verification.house import Scene, verifying


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with verifying(tmp_path) as scene:
        yield scene
