"""The checker of accessibility that tests use."""

from __future__ import annotations

import hashlib

import pytest

from tests.admin_page.pages import AXE, AdminPage, browser_tests


def test_it_is_as_published() -> None:
    digest, name = (AXE.parent / "SHA256SUMS").read_text().split()
    assert (name, hashlib.sha256(AXE.read_bytes()).hexdigest()) == (AXE.name, digest)


@browser_tests
@pytest.mark.asyncio(loop_scope="module")
async def test_a_field_without_a_label_is_found_and_named(admin: AdminPage) -> None:
    assert await admin.accessibility() == []
    field = "document.querySelector('main').append(document.createElement('input')); undefined"
    await admin.evaluate(field)
    (line,) = await admin.accessibility()
    assert line.startswith("critical label: <input> ")
