"""A Claude whose answers say whom they were made for, and which fails as each call asks it to.

Both stand in the request's `metadata`, which is no part of a fingerprint: so an answer that reaches
another caller than it may tells on itself, and one question fails today and not tomorrow.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cacheserver.claude import sse

END = "|whole"


def text_of(asked: dict[str, Any], number: int) -> str:
    """`whose|question|number|whole`, where a refused or cut one lacks the end."""
    last = asked["messages"][-1]["content"]
    question = last if isinstance(last, str) else last[-1]["text"]
    return f"{asked['metadata']['whose']}|{question}|{number}{END}"


class Moody:
    """An ASGI app. `metadata.mood`: well, slow, cut, broken, hang, refusal, long, 429, 529, 400."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.cost = 0  # output tokens of all whole answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        asked = json.loads(await request.body())
        mood = asked["metadata"]["mood"]
        self.calls[mood] += 1
        if mood.isdecimal():
            body = {"type": "error", "error": {"type": "api_error", "message": "in a mood"}}
            headers = {"x-should-retry": "false"}
            await Response(json.dumps(body), int(mood), headers)(scope, receive, send)
            return
        if mood == "slow":
            await asyncio.sleep(0.05)
        stop = {"refusal": "refusal", "long": "max_tokens"}.get(mood, "end_turn")
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "content": [{"type": "text", "text": text_of(asked, self.calls.total())}],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 7},
        }
        kind, pieces = b"application/json", [json.dumps(message).encode()]
        if asked.get("stream"):
            kind, pieces = b"text/event-stream", list(sse.replay(message))
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        await send(start)
        for sent, piece in enumerate(pieces):
            if mood in ("cut", "broken", "hang") and sent == len(pieces) // 2:
                await self._break_off(mood, piece, receive, send)
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _break_off(self, mood: str, piece: bytes, receive: Receive, send: Send) -> None:
        if mood == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif mood == "broken" and piece.startswith(b"event"):
            last = sse.error("overloaded_error", "in a mood")
            await send({"type": "http.response.body", "body": last, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
