"""Texts that a tenant's key may read: of its own requests, or of all if the tenant allows it.

Rule: many people may hold keys of one tenant, and questions may be personal. Figures, ids and
reasons are for all of them; texts are for the key that made the request. A stored answer does not
say whose request it was, so its texts are for no key. A job or a batch is its key's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.api.dependencies import Caller
from cacheserver.core import actors


def reads_all(caller: Caller) -> bool:
    """Return whether a caller reads the texts of the whole tenant.

    A caller with an Anthropic key of their own is a tenant inside the tenant: all of it is theirs.
    """
    return caller.tenant.keys_read_content or caller.credential is not None


def reads_served(caller: Caller) -> bool:
    """Return whether a caller reads the stored question that was served, whoever asked it.

    Without a key, all requests are of one party: where keys exist, none is let in without.
    """
    return reads_all(caller) or caller.key_id is None


def reads_job(caller: Caller, key_id: str | None) -> bool:
    """Return whether a caller finds a job of its tenant that came with `key_id`."""
    return reads_all(caller) or key_id == caller.key_id


def reads_decision(caller: Caller, record: Mapping[str, Any]) -> bool:
    """Return whether a caller reads the texts of a decision of its tenant."""
    return reads_all(caller) or actors.is_of_key(record.get("caller") or "", caller.key_id)
