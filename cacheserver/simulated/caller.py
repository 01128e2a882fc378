"""Callers of the simulated API. Any credential is its own account; none is a 401."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from cacheserver.simulated.errors import ApiError, invalid
from cacheserver.simulated.validation import VERSIONS


@dataclass(frozen=True, slots=True)
class Caller:
    """An account, and the API version it speaks."""

    account: str  # a prefix of the credential's SHA-256
    owner: str  # account and workspace: who shares a prompt cache
    version: str


def account(headers: Mapping[str, str]) -> str | None:
    """Return the account a request is from, or None where it has no credential."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else ""
    key = key or headers.get("x-api-key", "").strip()
    return masked(key) if key else None


def read(headers: Mapping[str, str]) -> Caller:
    """Return the caller. Raises a 401 without a credential, a 400 without a known version."""
    who = account(headers)
    if who is None:
        raise ApiError(401, "x-api-key header is required")
    version = headers.get("anthropic-version")
    if version is None:
        raise invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise invalid(f"anthropic-version: {version!r} is not a valid version")
    workspace = headers.get("anthropic-workspace-id", "")
    return Caller(account=who, owner=f"{who}/{workspace}", version=version)


def masked(secret: str) -> str:
    """Return a secret's fingerprint: it identifies the caller and cannot be used."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def organization_id(account: str) -> str:
    """Return an id that stays the same for an account."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, account))
