"""Imports sent to a server, as the command sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from tests.api.admin import ADMIN
from tests.house import MODEL, House

IMPORTS = "/admin/v1/imports"
SYSTEM = "You answer for the shop."
REQUEST: Mapping[str, Any] = {"model": MODEL, "max_tokens": 100, "system": SYSTEM}
FAQ: Sequence[Mapping[str, Any]] = (
    {"question": "How do I return an order?", "answer": "By post, within 30 days."},
    {"question": "What does express shipping cost?", "answer": "Five euros."},
    {"question": "Which cards do you take?", "answer": "All but cheques.", "tags": ["pay"]},
)


async def begun(house: House, **fields: Any) -> dict[str, Any]:
    """Begin an import of a FAQ for tenant `shop`."""
    body = {"tenant": "shop", "source": "faq.csv", "request": REQUEST, **fields}
    got = await house.http.post(IMPORTS, json=body, headers=ADMIN)
    assert got.status_code == 201, got.text
    found: dict[str, Any] = got.json()
    assert got.headers["location"] == f"{IMPORTS}/{found['tenant']}/{found['id']}"
    return found


async def send(
    house: House, job: Mapping[str, Any], records: Sequence[Any] = FAQ, **fields: Any
) -> httpx2.Response:
    body = {"first": 0, "records": list(records), "last": True, "request": REQUEST, **fields}
    path = f"{IMPORTS}/{job['tenant']}/{job['id']}/records"
    return await house.http.post(path, content=json.dumps(body), headers=ADMIN)


async def imported(
    house: House, records: Sequence[Any] = FAQ, *, batch: Mapping[str, Any] | None = None, **f: Any
) -> dict[str, Any]:
    """Import records in one batch; what the server says of it."""
    got = await send(house, await begun(house, **f), records, **(batch or {}))
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


async def curate(house: House, question: str = FAQ[0]["question"], text: str = "Ask Ann.") -> None:
    """Replace an answer of `shop` by hand, as an operator."""
    items = await house.http.get("/admin/v1/entries?tenant=shop", headers=ADMIN)
    (id,) = [one["id"] for one in items.json()["items"] if one["question"] == question]
    path = f"/admin/v1/entries/shop/{id}/answer"
    got = await house.http.put(path, json={"text": text}, headers=ADMIN)
    assert got.status_code == 200, got.text
