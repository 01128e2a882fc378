"""`cacheserver estimate FILE`: the cost of prompts or a plan, without a server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.pricing.prices import Pricer
from cacheserver.pricing.report import estimate_as_json, estimates_as_json


def estimate_file(
    file: Path, pricer: Pricer, *, model: str, max_tokens: int, batch: bool
) -> dict[str, Any]:
    """The estimate as JSON. Raises `BadRequest` naming a field or line, `OSError`, `ValueError`.

    The file holds a Messages body, a batch's, or a planned workload; Messages bodies or a batch's
    items line by line; or a prompt as text, asked of `model` for at most `max_tokens`. `batch`:
    lines and a text are priced as in a batch.
    """
    text, now = file.read_text(encoding="utf-8"), time.time()
    whole = _json(text)
    if isinstance(whole, list):
        raise BadRequest("file", "must hold one JSON object, or one on each line")
    if isinstance(whole, dict) and "params" not in whole:
        return estimate_as_json(pricer, whole, now)
    if not text.lstrip().startswith("{"):
        if not text.strip():
            raise BadRequest("messages", "must not be empty")
        turn = {"role": "user", "content": text}
        body = {"model": model, "max_tokens": max_tokens, "messages": [turn]}
        if not batch:
            return estimate_as_json(pricer, body, now)
        return estimates_as_json(pricer, [("", body)], now, batch=True)
    bodies = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _json(line)
        if not isinstance(found, dict):
            raise BadRequest(f"line {number}", "must be one JSON object")
        params = found.get("params", found)
        if not isinstance(params, Mapping):
            raise BadRequest(f"line {number}: params", "must be a Messages body")
        bodies.append((f"line {number}: ", params))
    return estimates_as_json(pricer, bodies, now, batch=batch)


def _json(text: str) -> Any:
    try:
        return json_text.loads(text)
    except ValueError:
        return None
