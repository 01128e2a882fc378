"""Record of an API key, as it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

import orjson

from cacheserver.core.errors import StoreError
from cacheserver.core.rules.limits import Limits

# `ask`: queries. `write`: also stores answers of its own (`PUT /v1/entries`).
KeyRole: TypeAlias = Literal["ask", "write"]
KEY_ROLES: Final[tuple[KeyRole, ...]] = get_args(KeyRole)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Stored record of a key. The key itself is not stored."""

    id: str  # of the first key's hash, so that it says nothing about the key
    tenant: str
    label: str
    created_at: float  # of this key, not of an earlier one with the same id
    expires_at: float | None = None  # from then on it is refused
    limits: Limits = field(default_factory=Limits)
    replaced: bool = False  # there is a newer key of the same id
    overlaps_until: float | None = None  # until then the previous key is valid too
    role: KeyRole = "ask"
    last_used: str | None = None  # a day, as 2026-12-31; None: not since days are recorded


def shown(key: ApiKey) -> dict[str, Any]:
    """Return a key as the API and `key list --json` show it."""
    fields = asdict(key)
    del fields["replaced"]  # it never is, of those that are shown
    return fields


def newest(records: Mapping[str, ApiKey | None]) -> ApiKey:
    """Return the record of a key that was not replaced by a newer one. One is not."""
    return next(key for key in records.values() if key is not None and not key.replaced)


def encode(key: ApiKey) -> bytes:
    fields = asdict(key)
    del fields["last_used"]
    return orjson.dumps(fields)


def decode(record: bytes | str) -> ApiKey:
    """Decode a record, which another version may have written."""
    try:
        fields: dict[str, Any] = orjson.loads(record)
        limits = fields.get("limits") or {}
        values = {name: limits.get(name) for name in Limits.__dataclass_fields__}
        return ApiKey(
            id=fields["id"],
            tenant=fields["tenant"],
            label=fields["label"],
            created_at=fields["created_at"],
            expires_at=fields.get("expires_at"),
            limits=Limits(**values),
            replaced=bool(fields.get("replaced")),
            overlaps_until=fields.get("overlaps_until"),
            # A role that this version does not know opens no more than asking.
            role="write" if fields.get("role") == "write" else "ask",
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError("an API key's record in the store is damaged") from error


def digest_of(plain: str) -> str:
    """Hash a key. SHA-256 suffices: 256 random bits cannot be guessed."""
    return hashlib.sha256(plain.encode()).hexdigest()
