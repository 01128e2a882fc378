from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.server import Contract, serving


@pytest.fixture
def server() -> Iterator[Contract]:
    with serving() as contract:
        yield contract
