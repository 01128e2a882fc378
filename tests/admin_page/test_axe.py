"""The checker of accessibility that tests use."""

from __future__ import annotations

import hashlib

from tests.admin_page.pages import AXE


def test_it_is_as_published() -> None:
    digest, name = (AXE.parent / "SHA256SUMS").read_text().split()
    assert (name, hashlib.sha256(AXE.read_bytes()).hexdigest()) == (AXE.name, digest)
