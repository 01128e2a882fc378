"""Rules for what Claude keeps between Messages requests: containers of code, their files, threads.

A container or a thread is continued by its id. It holds what its maker said and computed, so only
the tenant to whose request Claude gave the id may name it. An id that is not on record is nobody's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

CONTAINERS: Final = "containers"
THREADS: Final = "threads"
FILES: Final = "files"

# Fields of a request: which kind it continues, and where the id is if the field is an object.
_CONTINUES: Final[Mapping[str, tuple[str, str]]] = {
    "container": (CONTAINERS, "id"),
    "thread": (THREADS, "previous_message_id"),
}
_CONTINUE_HINTS: Final = tuple(f'"{name}"'.encode() for name in _CONTINUES)
_THREAD_HINT: Final = b'"thread"'
# `{"type": "create"}` or `"continue"`; a tool's property `thread` has neither.
_THREAD = re.compile(rb'"thread"\s*:\s*\{[^{}]*"(?:create|continue)"')
# In an answer, text and partial JSON have their quotes escaped and do not match.
_MADE_HINT = re.compile(rb'"container"\s*:\s*\{|code_execution_output"')
# Of a whole message, and of the event that begins a stream: only there is the message's id.
_BEGINS: Final = (b"{", b"event: message_start", b"event:message_start")

_DAY_S: Final = 24 * 3600
# Anthropic's page on the code execution tool: containers expire 30 days after they were made. Of
# threads no end is written; one that rests for longer must be begun anew.
KEPT_S: Final = 31 * _DAY_S


@dataclass(frozen=True, slots=True)
class Made:
    """Something that Claude made for a request. `expires_at` is Unix seconds; None: not said."""

    kind: str
    id: str
    expires_at: float | None = None

    def keep_s(self, now: float) -> int | None:
        """Return for how long its maker is recorded; None: until it is deleted."""
        if self.kind == FILES:
            return None
        left = KEPT_S if self.expires_at is None else round(self.expires_at - now) + _DAY_S
        return max(_DAY_S, left)


def may_continue(body: bytes) -> bool:
    """Return whether a body without escaped letters might continue something. Cheap."""
    return any(hint in body for hint in _CONTINUE_HINTS)


def continued(body: bytes) -> list[tuple[str, str]]:
    """Return kind and id of all that a Messages request, or a batch of them, continues.

    Of a field that is written twice both values count, for Claude may read either. Raises
    `RecursionError` for what is nested too deeply; what is no JSON names nothing.
    """
    try:
        top = json.loads(body, object_pairs_hook=tuple)  # objects as pairs, in their order
    except ValueError:
        return []
    found: list[tuple[str, str]] = []
    for request in _requests(top):
        for name, value in request:
            if name in _CONTINUES:
                kind, field = _CONTINUES[name]
                ids = [value] if isinstance(value, str) else _values(value, field)
                found += [(kind, id) for id in ids if isinstance(id, str)]
    return found


def _requests(top: Any) -> Iterator[Any]:
    if isinstance(top, tuple):
        yield top
        for items in _values(top, "requests"):
            for item in items if isinstance(items, list) else ():
                yield from (one for one in _values(item, "params") if isinstance(one, tuple))


def _values(of: Any, field: str) -> list[Any]:
    return [value for name, value in of if name == field] if isinstance(of, tuple) else []


def is_thread(body: bytes) -> bool:
    """Return whether a request begins or continues a thread. Written with escapes, it may not."""
    return _THREAD_HINT in body and _THREAD.search(body) is not None


def begins(raw: bytes) -> bool:
    """Return whether this is where an answer has its id: a message, or a stream's first event."""
    return raw.startswith(_BEGINS)


def shows_made(raw: bytes) -> bool:
    """Return whether a message, an event or a batch's line may say what was made. Cheap."""
    return _MADE_HINT.search(raw) is not None


def made(found: Mapping[str, Any], *, thread: bool = False) -> list[Made]:
    """Return what was made, by a message, an event of a stream or a line of a batch's results.

    Only what Anthropic's server writes is read, never a tool's input, which a caller can dictate.
    `container_upload` blocks are left out: they show a file that the request brought.
    """
    message = _message(found)
    shown: list[Made] = []
    container = message.get("container")
    if isinstance(container, Mapping) and isinstance(id := container.get("id"), str):
        shown.append(Made(CONTAINERS, id, _moment(container.get("expires_at"))))
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        shown += [Made(FILES, id) for id in _outputs(block)]
    if thread and isinstance(id := message.get("id"), str):
        shown.append(Made(THREADS, id))
    return shown


def _message(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message, or the part of one, in what came."""
    match found:
        case {"type": "message_start", "message": Mapping() as message}:
            return message
        case {"type": "message_delta", "delta": Mapping() as delta}:
            return delta
        case {"type": "content_block_start", "content_block": block}:
            return {"content": [block]}
        case {"result": {"message": Mapping() as message}}:
            return message
    return found


def _outputs(block: Any) -> Iterator[str]:
    """Yield the ids of files in a `code_execution_tool_result`, or one of its kin."""
    if not isinstance(block, Mapping):
        return
    result = block.get("content")
    if not str(block.get("type")).endswith("code_execution_tool_result"):
        return
    outputs = result.get("content") if isinstance(result, Mapping) else None
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, Mapping) and isinstance(id := output.get("file_id"), str):
            yield id


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
