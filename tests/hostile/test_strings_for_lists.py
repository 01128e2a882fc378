"""A string where a list is meant is refused, in every body of ours: it is no list of letters."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile.test_nonsense import BODIES
from tests.house import ADMIN_KEY, House

# Strings are meant there as well, or the body is Claude's own.
MAY_BE_A_STRING = {"context", "system", "content"}
CLAUDES = ("/v1/messages", "/v1/lint", "/v1/estimate")
CLAUDES_PARTS = {"schema", "request", "message"}


def with_strings(value: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """The value with one of its lists at a time replaced by a string, with the list's name."""
    if isinstance(value, list) and field not in MAY_BE_A_STRING:
        yield field, "support"
    if isinstance(value, dict):
        for key, part in value.items():
            if key in CLAUDES_PARTS:
                continue
            for name, spoilt in with_strings(part, key):
                yield name, {**value, key: spoilt}
    elif isinstance(value, list):
        for at, part in enumerate(value):
            for name, spoilt in with_strings(part, ""):
                yield name, [*value[:at], spoilt, *value[at + 1 :]]


async def test_a_string_is_no_list_over_http(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        _, key = await house.parts.tenants.create_key("default", role="write")
        tried = 0
        for route, bodies in BODIES.items():
            method, path = route.split(" ")
            if path.startswith(CLAUDES):
                continue
            admin = path.startswith("/admin")
            for base in bodies:
                for field, body in with_strings(copy.deepcopy(base)):
                    answer = await house.http.request(
                        method,
                        path.replace("{name}", "default"),
                        json=body,
                        headers={"x-api-key": ADMIN_KEY if admin else key},
                    )
                    assert answer.status_code == 400, (route, field, answer.text)
                    tried += 1
        assert tried >= 10
