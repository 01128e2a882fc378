"""Questions for tests of bars and of learning, and settings put as the admin."""

from __future__ import annotations

from typing import Any

from tests.house import ADMIN_KEY, House

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PARIS, SIMILAR = "What is the capital of France?", "What's the capital of France?"


async def put(house: House, path: str, **fields: Any) -> dict[str, Any]:
    response = await house.http.put(f"/admin/v1/{path}", headers=ADMIN, json=fields)
    assert response.status_code == 200, response.text
    found = response.json()
    assert isinstance(found, dict)
    return found
