"""Queries for tests of policy, read as the server reads them."""

from __future__ import annotations

from typing import Any

from cacheserver.cache import fingerprint
from cacheserver.core import json_text
from cacheserver.core.types import Controls, Query, Tenant
from cacheserver.languages.rules import languages

PLAIN = Tenant("acme")


def query(
    messages: list[dict[str, Any]] | str = "What is the capital of France?",
    *,
    tenant: Tenant = PLAIN,
    controls: Controls | None = None,
    model: str = "auto",
    headers: dict[str, str] | None = None,
    credential: str | None = None,
    **fields: Any,
) -> Query:
    """One request; a text stands for a conversation of one turn."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body = {"model": model, "max_tokens": 100, "messages": messages, **fields}
    return fingerprint.read(
        body,
        json_text.dumps(body),
        headers=headers or {},
        tenant=tenant,
        controls=controls or Controls(),
        upstream="test",
        language=languages(),
        credential=credential,
    )
