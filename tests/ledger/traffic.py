"""Mixed traffic through a whole server: hits, misses, streams, refusals, errors, lost lines."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.house import MODEL, House

_LONG = "You answer questions about a warehouse of garden tools, politely and at length. " * 25
_SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]
_CATEGORIES = ("bio", "cyber", "reasoning_extraction")
_FAST = ("claude-opus-5-5", "claude-fable-5-2")
_MODELS = (MODEL, "claude-sonnet-5-5", "claude-opus-5-5", "claude-sonnet-4-6", "claude-haiku-4-5")

# Kinds of request and how often each comes.
KINDS = {
    "repeat": 30,
    "new": 20,
    "stream": 15,
    "cached-prompt": 10,
    "model": 5,
    "refusal": 4,
    "search": 3,
    "fast": 3,
    "in-the-us": 3,
    "warm": 2,
    "error": 3,
    "cut": 2,
    "cut-stream": 3,
    "broken": 2,
    "hang-up": 2,
    "unknown-model": 1,
}


@dataclass
class Traffic:
    """Makes requests; the same seed makes the same ones."""

    house: House
    seed: int

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._number = 0

    async def send(self, count: int, *, at_once: int = 16) -> None:
        """Send so many requests, `at_once` of them side by side."""
        kinds = self._random.choices(list(KINDS), list(KINDS.values()), k=count)
        waiting = iter([self._asked(kind) for kind in kinds])

        async def ask() -> None:
            for kind, body in waiting:
                await self._send(kind, body)

        await asyncio.gather(*(ask() for _ in range(at_once)))

    def _asked(self, kind: str) -> tuple[str, dict[str, Any]]:
        self._number += 1
        text = f"What is item {self._number} of the catalogue?"
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 200}
        match kind:
            case "repeat":
                text = f"What is item {self._random.randrange(20)}?"
                body["stream"] = self._random.random() < 0.3
            case "stream":
                body["stream"] = True
                text += " [[sim words=30]]"
            case "cached-prompt":
                ttl = self._random.choice(["5m", "1h"])
                mark = {"type": "ephemeral", "ttl": ttl}
                shelf = f"{_LONG} Shelf {self._random.randrange(4)}."
                body["system"] = [{"type": "text", "text": shelf, "cache_control": mark}]
                body["model"] = self._random.choice(_MODELS[:3])
            case "model":
                body["model"] = self._random.choice(_MODELS)
            case "refusal":
                text += f" [[sim refusal={self._random.choice(_CATEGORIES)}]]"
            case "search":
                body["tools"] = _SEARCH
                text += " [[sim search]]"
            case "fast":
                body |= {"model": self._random.choice(_FAST), "speed": "fast"}
            case "in-the-us":
                body["inference_geo"] = "us"
            case "warm":
                body["max_tokens"] = 0
            case "error":
                status = self._random.choice([400, 429, 500, 529])
                text += f" [[sim error={status} should_retry=false]]"
            case "cut":
                text += " [[sim cut=0]]"
            case "cut-stream" | "broken":
                body["stream"] = True
                what = "cut" if kind == "cut-stream" else "broken"
                text += f" [[sim words=20 {what}={self._random.randrange(6)}]]"
            case "hang-up":
                body["stream"] = True
                text += " [[sim words=20 hang=4]]"
            case "unknown-model":
                body["model"] = "claude-haiku-99"
        return kind, {**body, "messages": [{"role": "user", "content": text}]}

    async def _send(self, kind: str, body: dict[str, Any]) -> None:
        headers = {"x-api-key": "any"}
        if kind == "hang-up":
            headers["cache-control"] = "no-store"  # abandoned where nobody reads it any more
        asked = self.house.http.stream("POST", "/v1/messages", json=body, headers=headers)
        try:
            async with asked as response:
                async for _ in response.aiter_bytes():
                    if kind == "hang-up":
                        return
        except httpx2.HTTPError:
            assert kind in ("cut", "cut-stream", "broken")
