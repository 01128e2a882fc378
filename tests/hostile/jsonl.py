"""Lets schemathesis send lines of JSON: it loads this by the name in SCHEMATHESIS_HOOKS."""

from __future__ import annotations

from typing import Any

import orjson
import schemathesis


@schemathesis.serializer("application/jsonl", "application/x-ndjson", "application/x-jsonl")
def lines(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
