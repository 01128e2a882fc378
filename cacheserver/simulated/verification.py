"""The simulated Claude's rule for verification: it compares words.

A request is one if its only message is a JSON object with `question` and `stored` under the system
prompt of a verification. The first stored question that shares at least half of all words of three
letters and more, and has the same figures, serves; else none does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_WORD = re.compile(r"[^\W\d_]{3,}")
_FIGURE = re.compile(r"\d+")
_BEGINS = "You decide for a cache whether a stored answer"
_SHARED = 0.5


def reply(body: Mapping[str, Any]) -> str | None:
    """Return the reply to a verification; None if the request is none."""
    system, messages = body.get("system"), list(body.get("messages") or [])
    if not isinstance(system, str) or not system.startswith(_BEGINS) or len(messages) != 1:
        return None
    try:
        asked = orjson.loads(messages[0].get("content"))
        question, stored = asked["question"], asked["stored"]
        for one in stored:
            if _alike(question, one["question"]):
                return str(one["number"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return "NONE"


def _alike(one: str, other: str) -> bool:
    if set(_FIGURE.findall(one)) != set(_FIGURE.findall(other)):
        return False
    mine, theirs = (set(_WORD.findall(text.lower())) for text in (one, other))
    return bool(mine) and len(mine & theirs) >= _SHARED * len(mine | theirs)
