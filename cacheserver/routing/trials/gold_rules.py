"""Gold sets: questions with known answers, to test a model. Pure.

One JSON object a line: `prompt` (a text) or `body` (of a Messages request), and `expected` (the
answer) or `check` (conditions, as for validation), or both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from cacheserver.cache import fingerprint
from cacheserver.core import json_text
from cacheserver.core.answer_check import read_check
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.validation import Check

MOST_ITEMS: Final = 500  # an interval of 500 is 2 to 4 points wide; more costs and tells no more
_MOST_CHARS: Final = 20_000
# Where a prompt stands alone. Thinking counts as output and is on by default in 5.x.
_MAX_TOKENS: Final = 8_192
_FIELDS: Final = frozenset({"prompt", "body", "expected", "check"})


@dataclass(frozen=True, slots=True)
class Item:
    """Question with the test of its answer."""

    body: Mapping[str, Any]  # of a Messages request; `model` is set when it is asked
    expected: str | None = None
    check: Check | None = None


def read(lines: bytes) -> tuple[Item, ...]:
    """Read an uploaded gold set. Raises `BadRequest` naming the line and its field."""
    found: list[Item] = []
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        if len(found) == MOST_ITEMS:
            raise BadRequest("body", f"has more than {MOST_ITEMS} lines; that many are kept")
        try:
            given = json_text.loads(line)
        except ValueError:
            raise BadRequest(f"line {number}", "is not valid JSON") from None
        found.append(_item(f"line {number}", given))
    if not found:
        raise BadRequest("body", "is empty; send one JSON object a line")
    return tuple(found)


def as_json(item: Item) -> dict[str, Any]:
    """Encode an item for storage; `item_of` decodes it."""
    check = None if item.check is None else asdict(item.check)
    return {"body": dict(item.body), "expected": item.expected, "check": check}


def item_of(given: Mapping[str, Any]) -> Item:
    """Decode a stored item. Raises `BadRequest` if it is invalid."""
    return _item("item", {name: value for name, value in given.items() if value is not None})


def body_for(item: Item, model: str) -> dict[str, Any]:
    """Return the request that asks a model an item's question, without other fields."""
    return {**fingerprint.shaping(item.body), "model": model}


def _item(at: str, given: object) -> Item:
    if not isinstance(given, dict):
        raise BadRequest(at, "must be a JSON object")
    if unknown := given.keys() - _FIELDS:
        there = ", ".join(f"`{name}`" for name in sorted(_FIELDS))
        raise BadRequest(f"{at}.{min(unknown)[:64]}", f"is not known; there are {there}")
    if ("prompt" in given) == ("body" in given):
        raise BadRequest(f"{at}.prompt", "or `body`: give one of them")
    if "expected" not in given and "check" not in given:
        raise BadRequest(f"{at}.expected", "or `check`: give one of them, or both")
    expected = given.get("expected")
    if expected is not None:
        _text(f"{at}.expected", expected)
    check = read_check(f"{at}.check", given["check"]) if "check" in given else None
    return Item(_body(at, given), expected, check)


def _body(at: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if "prompt" in given:
        prompt = _text(f"{at}.prompt", given["prompt"])
        return {"max_tokens": _MAX_TOKENS, "messages": [{"role": "user", "content": prompt}]}
    if not isinstance(given["body"], dict):
        raise BadRequest(f"{at}.body", "must be the body of a Messages request")
    body = {"max_tokens": _MAX_TOKENS, **given["body"]}
    try:
        fingerprint.check({**body, "model": "any"})
    except BadRequest as wrong:
        reason = wrong.message.partition(": ")[2]
        raise BadRequest(f"{at}.body.{wrong.field}", reason) from None
    body.pop("model", None)
    if body.get("tools"):
        raise BadRequest(f"{at}.body.tools", "are not taken: only answers in words are compared")
    return body


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _MOST_CHARS or not value.strip():
        raise BadRequest(field, f"must be a text of 1 to {_MOST_CHARS} characters")
    return value
