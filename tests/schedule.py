"""Which files of tests run side by side, and in which order. Used by `conftest.py`.

Rule: one browser at a time. A browser alone fills a core, and two leave nothing for the rest, which
waits half of its time: files with browsers are one unit of work, and go to one worker. What takes
longest begins first, so that in the end no worker goes on alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

_WITH_BROWSERS = ("tests/admin_page/", "tests/analysis/audit/test_page.py", "tests/api/test_docs_")
# Half a minute and more, on an idle machine of two cores.
_LONG = (
    "tests/workers/test_workers.py",
    "tests/hostile/test_nonsense.py",
    "tests/test_packaging.py",
    "tests/test_docs.py",
    "tests/batches/test_killed.py",
    "tests/hostile/test_lag.py",
    "tests/hostile/test_openapi.py",
    "tests/in_process/test_servers.py",
    "tests/evaluation/test_run.py",
    "tests/ledger/test_files.py",
)


def at_once() -> int:
    """Return how many workers to start: three for two cores."""
    cores = os.cpu_count() or 1
    return cores + cores // 2


def unit(nodeid: str) -> str:
    """Return the unit of work of a test: its file, or all files with browsers."""
    return "browsers" if nodeid.startswith(_WITH_BROWSERS) else nodeid.partition("::")[0]


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with the longest units first, otherwise in their order."""
    ranks = {name: rank for rank, name in enumerate(("browsers", *_LONG))}
    return sorted(items, key=lambda item: ranks.get(unit(item.nodeid), len(ranks)))


class Schedule(LoadFileScheduling):  # type: ignore[misc]
    """Gives each worker a unit at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
