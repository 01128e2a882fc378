"""A message as the stream of events in which Claude sends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_PIECE = 12  # characters of one delta, about five tokens

_LATE_USAGE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `share` is how much of the output it carries, 0..1, for its pace."""

    name: str
    data: Mapping[str, Any]
    share: float = 0.0

    def encoded(self) -> bytes:
        """Return the event as it goes over the wire."""
        return b"event: %b\ndata: %b\n\n" % (self.name.encode(), orjson.dumps(self.data))


def of(message: Mapping[str, Any]) -> list[Event]:
    """Return the events of `message`, a ping after the first has begun."""
    early = {**message["usage"], "output_tokens": 1}
    early.pop("output_tokens_details", None)
    early.pop("iterations", None)
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": early,
    }
    start.pop("container", None)  # known once code has run
    found = [Event("message_start", {"type": "message_start", "message": start})]
    ping = Event("ping", {"type": "ping"})
    if not message["content"]:
        found.append(ping)
    deltas = [list(_deltas(block)) for block in message["content"]]
    share = 1 / max(1, sum(map(len, deltas)))
    for index, block in enumerate(message["content"]):
        found.append(_event("content_block_start", index=index, content_block=_opening(block)))
        if index == 0:
            found.append(ping)
        found.extend(
            Event(
                "content_block_delta",
                {"type": "content_block_delta", "index": index, "delta": delta},
                share,
            )
            for delta in deltas[index]
        )
        found.append(_event("content_block_stop", index=index))
    closing = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    if "container" in message:
        closing["container"] = message["container"]
    usage = {name: message["usage"].get(name) for name in _LATE_USAGE}
    found.append(_event("message_delta", delta=closing, usage=usage))
    found.append(_event("message_stop"))
    return found


def error(type: str, message: str, request_id: str) -> Event:
    """Return the event that ends a stream that failed after it had begun."""
    return Event(
        "error",
        {
            "type": "error",
            "error": {"type": type, "message": message},
            "request_id": request_id,
        },
    )


def _event(name: str, **data: Any) -> Event:
    return Event(name, {"type": name, **data})


def _opening(block: Mapping[str, Any]) -> Mapping[str, Any]:
    match block["type"]:
        case "text":
            return {**block, "text": ""} | ({"citations": []} if block.get("citations") else {})
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use":
            return {**block, "input": {}}
        case _:
            return block  # whole, with no delta


def _deltas(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    match block["type"]:
        case "text":
            for citation in block.get("citations") or []:
                yield {"type": "citations_delta", "citation": citation}
            for piece in _pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            for piece in _pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use" | "server_tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            if block["input"]:
                for piece in _pieces(orjson.dumps(block["input"]).decode()):
                    yield {"type": "input_json_delta", "partial_json": piece}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
