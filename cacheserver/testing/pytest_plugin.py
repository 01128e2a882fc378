"""Pytest plugin, loaded wherever cacheserver is installed: the fixture `simulated_claude`.

Rule: loading it imports nothing heavy, since every run of pytest does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cacheserver.testing import SimulatedClaude


@pytest.fixture(name="simulated_claude")
def _simulated_claude(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedClaude]:
    """Simulated Claude of this test, to which `ANTHROPIC_BASE_URL` points meanwhile."""
    from cacheserver.testing import simulated_claude

    with simulated_claude() as claude:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-simulated")
        monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
        yield claude
