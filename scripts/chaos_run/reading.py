"""Parsing of the server's responses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx2

from cacheserver.core import invisible_characters
from scripts.chaos_run.history import NOTHING, AnswerText, Exchange


def read(event: Exchange, got: httpx2.Response, *, stream: bool) -> Exchange:
    """The event with what the response says."""
    head = got.headers
    ttl = head.get("x-cache-ttl")
    event = replace(
        event,
        status=got.status_code,
        outcome=head.get("x-cache", ""),
        reason=head.get("x-cache-reason", ""),
        entry=head.get("x-cache-entry"),
        ttl_s=int(ttl) if ttl else None,
        decision=head.get("x-cache-decision"),
        request_id=head.get("request-id"),
    )
    if got.status_code != 200:
        try:
            broken = None if got.json()["type"] == "error" else "an error that is no error"
        except (ValueError, KeyError, TypeError):
            broken = f"{got.status_code} with a body that is no error of ours"
        return replace(event, broken=broken)
    if stream and head.get("content-type", "").startswith("text/event-stream"):
        text, ended = streamed(got.text)
        if ended != "whole":
            # An error event is an honest end; a stream that just stops is none.
            return replace(event, broken=None if ended == "error" else "the stream has no end")
    else:
        try:
            body = got.json()
            text = text_of(body["content"])
        except (ValueError, LookupError, TypeError):
            return replace(event, broken="200 with a body that is no message")
    stored = event.outcome == "miss" and event.entry is not None and (event.ttl_s or 0) > 0
    if invisible_characters.blank(text):
        meant = event.question.startswith(NOTHING)
        return replace(
            event,
            blank=True,
            stored=stored,
            broken=None if meant else "an answer that says nothing",
        )
    content = AnswerText.read(text)
    if content is None:
        return replace(event, broken=f"the answer is not whole: {text[-40:]!r}")
    return replace(event, content=content, stored=stored)


def streamed(text: str) -> tuple[str, str]:
    """The text of a stream, and its end: whole, error or none."""
    content, end = "", "none"
    for block in text.replace("\r\n", "\n").split("\n\n"):
        data = "".join(line[5:] for line in block.split("\n") if line.startswith("data:"))
        if not data:
            continue
        event = json.loads(data)
        if event["type"] == "content_block_delta":
            content += event["delta"].get("text", "")
        elif event["type"] == "error":
            end = "error"
        elif event["type"] == "message_stop":
            end = "whole"
    return content, end


def results(lines: str) -> dict[str, AnswerText]:
    """The answers among the results of a batch, by custom id."""
    found = {}
    for line in lines.splitlines():
        item = json.loads(line)
        if item["result"]["type"] == "succeeded":
            content = AnswerText.read(text_of(item["result"]["message"]["content"]))
            if content is not None:
                found[item["custom_id"]] = content
    return found


def text_of(content: str | list[dict[str, Any]]) -> str:
    """All text of a message."""
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content if block["type"] == "text")


def moment(written: str | None) -> float | None:
    """Unix seconds of an RFC 3339 time."""
    return None if written is None else datetime.fromisoformat(written).timestamp()
