"""Folds stream events into a message, and replays a message as stream events.

The grammar is that of Anthropic's SDK: every event has an `event:` line and a `data:` line; usage
is in `message_start` and again in `message_delta`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from cacheserver.core import json_text

MEDIA_TYPE = "text/event-stream"

# Of a message, beside the delta in `message_delta`.
_AFTERWARDS = ("context_management", "input_transformations")

# Blocks that arrive in pieces, by the field that is empty in `content_block_start`.
_PIECEWISE: Mapping[str, Mapping[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
    "server_tool_use": {"input": {}},
}


def message_id() -> str:
    """Return a new id for an answer from the cache."""
    return f"msg_cache_{secrets.token_hex(12)}"


def with_id(message: bytes, id: str) -> bytes:
    """Return a stored message (a JSON object without an "id") with the id."""
    return b'{"id":"' + id.encode() + (b'"}' if message == b"{}" else b'",' + message[1:])


def without_id(message: Mapping[str, Any]) -> bytes:
    return json_text.dumps({k: v for k, v in message.items() if k != "id"})


def encode(event: Mapping[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + json_text.dumps(event) + b"\n\n"


def decode(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a raw event; None for a comment or an event without one."""
    data = b"\n".join(
        line[5:].removeprefix(b" ") for line in raw.splitlines() if line.startswith(b"data:")
    )
    try:
        event = json_text.loads(data)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def error(type: str, message: str, request_id: str | None = None) -> bytes:
    """Return the error event that ends a stream."""
    event: dict[str, Any] = {"type": "error", "error": {"type": type, "message": message}}
    return encode(event if request_id is None else {**event, "request_id": request_id})


def replay(message: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a whole message, its id included, as the events in which Claude streams it."""
    usage = message.get("usage") or {}
    opening = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": min(1, usage.get("output_tokens") or 0)},
    }
    closing = {
        field: message[field]
        for field in ("stop_reason", "stop_sequence", "stop_details", "container")
        if field in message
    }
    afterwards = {field: message[field] for field in _AFTERWARDS if field in message}
    for field in ("stop_details", "container", *_AFTERWARDS):
        opening.pop(field, None)
    yield encode({"type": "message_start", "message": opening})
    for index, block in enumerate(message.get("content") or ()):
        yield from _replay_block(index, block)
    yield encode({"type": "message_delta", "delta": closing, **afterwards, "usage": usage})
    yield encode({"type": "message_stop"})


def _replay_block(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    empty = _PIECEWISE.get(block["type"], {})
    start = {**block, **empty}
    if block["type"] == "text" and block.get("citations"):
        start["citations"] = []
    yield encode({"type": "content_block_start", "index": index, "content_block": start})
    for delta in _deltas(block):
        yield encode({"type": "content_block_delta", "index": index, "delta": delta})
    yield encode({"type": "content_block_stop", "index": index})


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for citation in block.get("citations") or ():
                yield {"type": "citations_delta", "citation": citation}
            yield {"type": "text_delta", "text": block.get("text", "")}
        case "thinking":
            if block.get("thinking"):
                yield {"type": "thinking_delta", "thinking": block["thinking"]}
            yield {"type": "signature_delta", "signature": block.get("signature", "")}
        case "tool_use" | "server_tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            if block.get("input"):
                text = json_text.dumps(block["input"]).decode()
                yield {"type": "input_json_delta", "partial_json": text}


class Fold:
    """Fold of events into the message that they make up.

    `message` is whole once `complete`; before, it is what has arrived. `broken` says why the
    message must not be used as an answer: an error event, an unknown kind of delta, bad JSON.
    """

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.complete = False
        self.broken: str | None = None
        self.error: Mapping[str, Any] | None = None
        self._json: dict[int, list[str]] = {}
        self._text: dict[tuple[int, str], list[str]] = {}

    def feed(self, event: Mapping[str, Any]) -> None:
        """Add one event. Raises nothing: an invalid event marks the fold `broken`."""
        try:
            self._feed(event)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            self.broken = self.broken or "malformed"

    def _feed(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "message_start":
                if self.message:
                    raise ValueError("a second message")
                self.message = {**event["message"], "content": []}
            case "content_block_start":
                if event["index"] != len(self.message["content"]):
                    raise ValueError("blocks out of order")
                self.message["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                self._delta(event["index"], event["delta"])
            case "content_block_stop":
                self._close(event["index"])
            case "message_delta":
                self.message.update(event["delta"])
                self.message.update(
                    {field: event[field] for field in _AFTERWARDS if field in event}
                )
                # Cumulative: fields present replace those of the start, others stay.
                usage = {k: v for k, v in event.get("usage", {}).items() if v is not None}
                self.message["usage"] = {**self.message.get("usage", {}), **usage}
            case "message_stop":
                if self._text or self._json:  # a tool's input that `max_tokens` cut short
                    self.broken = self.broken or "unclosed"
                self.complete = self.broken is None and "usage" in self.message
            case "error":
                self.error = event.get("error") or {}
                self.broken = "error"
            case "ping":
                pass
            case _:  # an unknown kind of event may change the answer
                self.broken = self.broken or "unknown-event"

    def _delta(self, index: int, delta: Mapping[str, Any]) -> None:
        block = self.message["content"][index]
        match delta["type"]:
            case "text_delta":
                self._text.setdefault((index, "text"), []).append(delta["text"])
            case "thinking_delta":
                self._text.setdefault((index, "thinking"), []).append(delta["thinking"])
            case "signature_delta":
                block["signature"] = delta["signature"]  # sets, never appends
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            case "input_json_delta":
                self._json.setdefault(index, []).append(delta["partial_json"])
            case _:
                self.broken = self.broken or "unknown-delta"

    def _close(self, index: int) -> None:
        block = self.message["content"][index]
        for field in ("text", "thinking"):
            if pieces := self._text.pop((index, field), None):
                block[field] = block.get(field, "") + "".join(pieces)
        if (pieces := self._json.pop(index, None)) and (text := "".join(pieces)):
            block["input"] = json_text.loads(text)
