"""Directives of a test to the simulated Claude in the last user text: `[[sim key=value flag]]`.

Values with spaces are quoted as in a shell. A directive is part of the request, so another
directive is another question; it is left out of the echo.

    text="..."            the whole text of the answer
    words=200             a long answer of so many words
    thinking=30           a thinking block of so many words first; also without `thinking` asked for
    redacted              a redacted thinking block first
    tool=NAME input=JSON  a call of that tool; without `input`, one made from the tool's schema
    cite                  a citation of the first document in the conversation
    search                a web search and its result before the text
    code                  code that ran in a container and made a file
    refusal=CATEGORY      a refusal: before any output, or after `text`
    pause                 stop in the middle of a server tool: `pause_turn`
    stop=REASON           that stop reason, whatever the content
    steps=MODEL,MODEL     `iterations`: a step of each of these models before the answer's own

    error=STATUS retry_after=SECONDS should_retry=false    this error
    cut=N                 the connection is lost after N events (at once where nothing streams)
    broken=N type=TYPE    an SSE `error` after N events
    slow=SECONDS          so much later than usual
    hang=N                nothing more after N events, until the caller leaves
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from cacheserver.simulated import prompt
from cacheserver.simulated.errors import invalid

_DIRECTIVE = re.compile(r"\[\[sim\s+(.*?)\]\]", re.DOTALL)

MESSAGES = "/v1/messages"

FaultKind: TypeAlias = Literal["error", "cut", "broken", "slow", "hang"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault of the next `times` requests for `path`."""

    kind: FaultKind
    status: int = 529  # error
    type: str = "overloaded_error"  # broken
    retry_after_s: float | None = None  # error
    should_retry: bool | None = None  # error
    after_events: int = 0  # cut, broken, hang
    delay_s: float = 0.0  # slow
    times: int = 1
    path: str = MESSAGES  # elsewhere only errors happen


@dataclass(frozen=True, slots=True)
class Directives:
    """Directives of one request; the defaults have no effect."""

    text: str | None = None
    words: int | None = None
    thinking: int | None = None
    redacted: bool = False
    tool: str | None = None
    input: Mapping[str, Any] | None = None
    cite: bool = False
    search: bool = False
    code: bool = False
    refusal: str | None = None
    pause: bool = False
    stop: str | None = None
    steps: tuple[str, ...] = ()
    fault: Fault | None = None


def question(body: Mapping[str, Any]) -> str:
    """Return the last user text without its directives."""
    return " ".join(_DIRECTIVE.sub("", last_text(body)).split())


def read(body: Mapping[str, Any]) -> Directives:
    """Return the directives of a valid request. Raises a 400 for one that is malformed."""
    found: dict[str, str] = {}
    for inside in _DIRECTIVE.findall(last_text(body)):
        try:
            words = shlex.split(inside)
        except ValueError as error:
            raise invalid(f"simulated directive: {error}") from None
        for word in words:
            key, _, value = word.partition("=")
            found[key] = value
    if not found:
        return Directives()
    try:
        return _directives(found)
    except ValueError:
        raise invalid("simulated directive: a number or JSON was expected") from None


def _directives(found: dict[str, str]) -> Directives:
    take = found.pop

    def number(key: str) -> int | None:
        value = take(key, None)
        return None if value is None else int(value or 0)

    fault = _fault(found)
    asked = Directives(
        text=take("text", None),
        words=number("words"),
        thinking=number("thinking"),
        redacted=take("redacted", None) is not None,
        tool=take("tool", None),
        input=orjson.loads(take("input")) if "input" in found else None,
        cite=take("cite", None) is not None,
        search=take("search", None) is not None,
        code=take("code", None) is not None,
        refusal=take("refusal", None),
        pause=take("pause", None) is not None,
        stop=take("stop", None),
        steps=tuple(take("steps", "").split(",")) if found.get("steps") else (),
        fault=fault,
    )
    if found:
        raise invalid(f"simulated directive: unknown key {next(iter(found))!r}")
    return asked


def _fault(found: dict[str, str]) -> Fault | None:
    take = found.pop
    retry_after = take("retry_after", None)
    should_retry = take("should_retry", None)
    kind = take("type", "overloaded_error")
    if "error" in found:
        return Fault(
            "error",
            status=int(take("error")),
            retry_after_s=None if retry_after is None else float(retry_after),
            should_retry=None if should_retry is None else should_retry == "true",
        )
    if "cut" in found:
        return Fault("cut", after_events=int(take("cut") or 0))
    if "broken" in found:
        return Fault("broken", after_events=int(take("broken") or 0), type=kind)
    if "slow" in found:
        return Fault("slow", delay_s=float(take("slow")))
    if "hang" in found:
        return Fault("hang", after_events=int(take("hang") or 0))
    return None


def last_text(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message; of a tool result where it has nothing else."""
    for message in reversed(body["messages"]):
        if message["role"] != "user":
            continue
        parts = prompt.blocks_of(message["content"])
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if texts:
            return "\n".join(texts)
        for part in parts:
            if part["type"] == "tool_result":
                inner = prompt.blocks_of(part.get("content"))
                return "\n".join(str(nested.get("text", "")) for nested in inner)
        return ""
    return ""
