"""Calls of the API: method, path and body, without a server's address. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

# A JSON object and a text, as a client returns them: at once, or as awaitables.
Object = TypeVar("Object")
Text = TypeVar("Text")

JSON, LINES, BYTES = "application/json", "application/x-ndjson", "application/octet-stream"


# Options that are lists: a string would be taken for a list of its letters.
_LISTS = ("tags", "context_blocks", "levers_off", "messages", "group_by", "cause", "decision")


@dataclass(frozen=True, slots=True)
class Call:
    """Request without the server's address."""

    method: str
    path: str  # with its query
    body: bytes | None = None
    content_type: str = JSON
    again: bool = True  # False: done twice, it is not as if done once


def path(*parts: str) -> str:
    """Join parts of a path; only the first may contain slashes. Raises `ValueError`."""
    first, *others = parts
    for part in others:
        if part in ("", ".", ".."):  # they would lead to another path
            raise ValueError(f"{part!r} is no name or id")
    return "/".join([first, *(quote(part, safe="") for part in others)])


def with_query(path: str, parameters: Mapping[str, object]) -> str:
    """Add a query to a path. What is None is left out; several values are joined by commas."""
    given = {name: _word(value) for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def sent(method: str, path: str, body: Mapping[str, Any], *, again: bool = True) -> Call:
    """Build a call with a JSON body."""
    return Call(method, path, json.dumps(body, allow_nan=False).encode(), again=again)


def check(method: str, given: Mapping[str, object], shape: type) -> None:
    """Raise `TypeError` for an option that `method` does not have, or a string for a list.

    `shape`: the `TypedDict` of its options.
    """
    known = shape.__annotations__.keys()
    if unknown := sorted(given.keys() - known):
        near = get_close_matches(unknown[0], known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"{method}() has no option {', '.join(map(repr, unknown))}{meant}")
    refuse_strings(given)


def refuse_strings(given: Mapping[str, object]) -> None:
    """Raise `TypeError` for a string where a list is meant."""
    for name in _LISTS:
        if isinstance(value := given.get(name), str | bytes):
            raise TypeError(f"`{name}` must be a list of strings, such as [{value!r}]")


class Calls(Generic[Object, Text]):
    """Calls that return a JSON object or a text: at once, or as an awaitable.

    `ask` sends a call and returns the object of its answer (a list is its `items`), `read` the
    text.
    """

    def __init__(self, ask: Callable[[Call], Object], read: Callable[[Call], Text]) -> None:
        self._ask = ask
        self._read = read

    def _get(self, path: str, **parameters: object) -> Object:
        return self._ask(Call("GET", with_query(path, parameters)))

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> Object:
        return self._change("POST", path, body, again=False)

    def _compute(self, path: str, body: Mapping[str, Any]) -> Object:
        """Post what changes nothing, so that it may be sent again."""
        return self._change("POST", path, body)

    def _put(self, path: str, body: Mapping[str, Any] | None = None) -> Object:
        return self._change("PUT", path, body)

    def _delete(self, path: str, body: Mapping[str, Any] | None = None) -> Object:
        return self._change("DELETE", path, body)

    def _change(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, again: bool = True
    ) -> Object:
        if body is None:
            return self._ask(Call(method, path, again=again))
        return self._ask(sent(method, path, body, again=again))


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)
