"""Digests of a tenant's content: plain ones, or keyed ones where the tenant keeps no content.

Rule: whatever is made of a question, a prompt or a name that a caller wrote, and is stored or used
as a key, passes through `keyed`. A short question can be guessed, and its plain SHA-256 with it; an
HMAC cannot be made without the key, which is in no store. Pure.
"""

from __future__ import annotations

import hmac
from typing import Final

from cacheserver.core.types import Tenant

# Said in place of a text that is not kept or not shown.
NO_CONTENT: Final = "no-content"
OTHER_KEY: Final = "other-key"  # of another key, or perhaps: the tenant's keys do not read all


def keyed(tenant: Tenant, digest: str) -> str:
    """Return a digest as `tenant` stores it: an HMAC of the same length, or itself.

    `digest` is at most 64 hex digits. Raises `ValueError` where the tenant's key is not at hand:
    a plain digest must never stand in.
    """
    if not tenant.no_content:
        return digest
    if tenant.digest_key is None:
        raise ValueError("the key of a tenant's digests is not at hand")
    return hmac.digest(tenant.digest_key, digest.encode(), "sha256").hex()[: len(digest)]
