"""Mixed traffic through a whole server: hits, misses, streams, batches, refusals, lost lines."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY, MODEL

_LONG = "You answer questions about a warehouse of garden tools, politely and at length. " * 25
_VERY_LONG = "A catalogue of garden tools, page after page. " * 6_500  # 120,000 tokens of Haiku's
_LOSE = re.compile(rb"item \d+ of the catalogue\? \[\[lose=(\d)\]\]")
_SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]
_CATEGORIES = ("bio", "cyber", "reasoning_extraction")
_FAST = ("claude-opus-5-5", "claude-fable-5-2")
_MODELS = (MODEL, "claude-sonnet-5-5", "claude-opus-5-5", "claude-sonnet-4-6", "claude-haiku-4-5")
_SAME = ("What is", "What's")
_PLACES = ("France", "Peru", "Kenya", "Japan", "Norway", "Chile", "Egypt", "Cuba", "Nepal", "Iran")

# Kinds of request and how often each comes.
KINDS = {
    "repeat": 280,
    "paraphrase": 40,
    "new": 150,
    "together": 30,
    "stream": 120,
    "batch": 60,
    "job": 20,
    "planned-prompt": 40,
    "cached-prompt": 60,
    "model": 40,
    "auto": 30,
    "refusal": 30,
    "late-refusal": 10,
    "search": 20,
    "steps": 15,
    "steps-stream": 10,
    "long-prompt": 2,
    "fast": 20,
    "in-the-us": 20,
    "warm": 10,
    "only-if-cached": 10,
    "error": 20,
    "error-retried": 5,
    "cut": 10,
    "cut-stream": 20,
    "broken": 15,
    "lost-once": 6,
    "lost-stream": 4,
    "lost-always": 3,
    "hang-up": 10,
    "hang-up-early": 5,
    "hang-up-shared": 10,
    "unknown-model": 5,
    "capped": 10,
    "auto-lost": 4,
    "escalated": 8,
    "retried": 10,
    "retried-lost": 4,
    "summarised": 10,
    "summarised-again": 10,
}
_TAKEN_TOGETHER = {"together": 4, "batch": 30}  # requests of one kind that go at once

# Where what a caller asked may be billed though its usage never comes.
_MAY_LOSE = frozenset(
    {"cut", "cut-stream", "broken", "lost-once", "lost-stream", "lost-always", "hang-up"}
    | {"hang-up-early", "capped", "auto-lost", "retried-lost"}
)


class Losing:
    """The line to Claude. What says `[[lose=N]]` is answered and billed, and its first N answers
    never arrive: the connection ends before their first byte."""

    def __init__(self) -> None:
        self.port = 0  # Claude's own
        self._lost: Counter[bytes] = Counter()
        self._lines: set[asyncio.Task[Any] | None] = set()

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(asyncio.current_task())  # else nothing holds a line that waits
        up, down = await asyncio.open_connection("127.0.0.1", self.port)
        said = bytearray()

        async def ask() -> None:
            while sent := await reader.read(2**16):
                said.extend(sent)
                down.write(sent)
            down.close()

        asking = asyncio.create_task(ask())
        try:
            while reply := await up.read(2**16):
                if (found := _LOSE.search(said)) is not None:
                    text = bytes(found[0])
                    self._lost[text] += 1
                    if self._lost[text] <= int(found[1]):
                        return
                said.clear()
                writer.write(reply)
                await writer.drain()
        except OSError:
            return  # who asked has left
        finally:
            self._lines.discard(asyncio.current_task())
            asking.cancel()
            for each in (down, writer):
                each.close()


@dataclass
class Traffic:
    """Makes requests; the same seed makes the same ones. `asked` is each one's text, by its tag."""

    house: BatchHouse
    seed: int
    asked: dict[str, str] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    left: set[str] = field(default_factory=set)  # the tags of those who left before any answer
    refused: int = 0  # not let in: a busy store did not say in time whose key it is

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._number = 0
        self._jobs: list[str] = []

    async def prepare(self) -> None:
        """Give the tenants their rules."""
        warm = {"name": "shelf", "model": MODEL, "system": f"{_LONG} Shelf 0."}
        routing = {
            "haiku": {"ask": "always", "timeout_ms": 10_000},
            "trials": {"share": 1.0},
            "tasks": {"extraction": {"tier": "low", "min_agreement": 0.9}},
        }
        await self._put("tenants/default", caching={"prewarm": [warm]}, routing=routing)
        await self._put("tenants/default/bars", bar={"target": 0.5, "audit_share": 1.0})
        self._key = await self.house.key("default")
        self._capped = await self.house.key("capped")
        await self._put("tenants/capped", lengths={"stream_usd": 0.000_01})
        self._checked = await self.house.key("checked")
        await self._put("tenants/checked", routing={"validation": {"enabled": True}})
        self._talking = await self.house.key("talking")
        summary = {"messages": True, "how": "summary", "keep": 1, "step": 1}
        await self._put("tenants/talking", history=summary)

    async def send(self, count: int, *, at_once: int = 48) -> None:
        """Send so many requests, `at_once` of them side by side, and wait for what is queued."""
        left = count - await self._hit()
        kinds: list[str] = []
        while len(kinds) < left:
            kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
            kinds += [kind] * min(_TAKEN_TOGETHER.get(kind, 1), left - len(kinds))
        self.sent.update(kinds)
        groups: list[tuple[str, int]] = []
        place = 0
        while place < len(kinds):
            kind = kinds[place]
            size = 1
            most = _TAKEN_TOGETHER.get(kind, 1)
            while size < most and place + size < len(kinds) and kinds[place + size] == kind:
                size += 1
            groups.append((kind, size))
            place += size
        waiting = iter(groups)

        async def ask() -> None:
            for kind, size in waiting:
                await self._send(kind, size)

        await asyncio.gather(*(ask() for _ in range(at_once)))
        for id in self._jobs:
            await self.house.ended(id, key=self._key)

    async def _hit(self) -> int:
        """Send a question, and once it is stored its paraphrase: a hit, which is audited.

        Whether others meet depends on who is answered first. Returns how many requests that were.
        """
        asked = [f"{words} the capital of Malta? [[sim text=Malta]]" for words in _SAME]
        for text in asked:
            messages = [{"role": "user", "content": text}]
            body = {"model": MODEL, "max_tokens": 200, "messages": messages}
            await self._post("paraphrase", body, {"x-api-key": self._key})
            await self.house.parts.service.drain(60)
        return len(asked)

    async def _send(self, kind: str, size: int) -> None:
        if kind == "batch":
            items = [item(f"i{n}", **self._item()) for n in range(size)]
            made = await self.house.sdk(self._key).messages.batches.create(requests=items)
            self._jobs.append(made.id)
        elif kind == "job":
            text = f"What is job {self._next()} of the catalogue?"
            taken = await self.house.job(text, key=self._key, when="batch")
            assert taken.status_code == 202, taken.text
            self._jobs.append(taken.json()["id"])
        elif kind == "together":
            body = self._asked("new")
            await asyncio.gather(*(self._post(kind, *body) for _ in range(size)))
        else:
            await self._post(kind, *self._asked(kind))

    def _item(self) -> dict[str, Any]:
        chance = self._random.random()
        text = f"What is part {self._next()} of the catalogue?"
        if chance < 0.2:
            text = f"What is item {self._random.randrange(20)}?"
        elif chance < 0.3:
            text += f" [[sim refusal={self._random.choice(_CATEGORIES)}]]"
        given: dict[str, Any] = {"text": text, "model": self._random.choice(_MODELS)}
        if 0.3 <= chance < 0.45:
            mark = {"type": "ephemeral", "ttl": "1h"}
            given["system"] = [{"type": "text", "text": f"{_LONG} Batch.", "cache_control": mark}]
        return given

    def _asked(self, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
        """A body, and the headers that go with it."""
        choice = self._random.choice
        text = f"What is item {self._next()} of the catalogue?"
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 200}
        match kind:
            case "repeat":
                text = f"What is item {self._random.randrange(20)}?"
                body["stream"] = self._random.random() < 0.3
            case "paraphrase":
                words = choice(_SAME)
                place = choice(_PLACES)  # told what to say: made-up answers are never audited
                text = f"{words} the capital of {place}? [[sim text={place}]]"
            case "stream":
                body["stream"] = True
                text += " [[sim words=30]]"
            case "planned-prompt":  # the same prefix each time: ours to mark
                body["system"] = f"{_LONG} Shelf {self._random.randrange(3)}."
                body["model"] = choice(_MODELS[:3])
            case "cached-prompt":
                mark = {"type": "ephemeral", "ttl": choice(["5m", "1h"])}
                shelf = f"{_LONG} Shelf {self._random.randrange(4)}."
                body["system"] = [{"type": "text", "text": shelf, "cache_control": mark}]
                body["model"] = choice(_MODELS[:3])
            case "model":
                body["model"] = choice(_MODELS)
            case "auto":  # nor tried on another model
                body["model"] = "auto"
                text += " [[sim text=sharp]]"
            case "escalated":  # cut short: asked again one up, where the tier was the low one
                body["model"] = "auto"
                text += " [[sim text=begun stop=max_tokens]]"
            case "auto-lost":
                body["model"] = "auto"
                text += " [[lose=1]]"
            case "refusal":
                text += f" [[sim refusal={choice(_CATEGORIES)}]]"
            case "late-refusal":
                text += f" [[sim text=begun refusal={choice(_CATEGORIES)}]]"
                body["stream"] = choice([True, False])
            case "search":
                body["tools"] = _SEARCH
                text += " [[sim search]]"
            case "steps" | "steps-stream":
                text += f" [[sim steps={choice(_MODELS)},{choice(_MODELS)}]]"
                body["model"] = choice(_MODELS[:3])
                body["stream"] = kind == "steps-stream"
            case "long-prompt":
                body["system"] = _VERY_LONG
            case "fast":
                body |= {"model": choice(_FAST), "speed": "fast"}
            case "in-the-us":
                body["inference_geo"] = "us"
            case "warm":
                body["max_tokens"] = 0
            case "error":
                text += f" [[sim error={choice([400, 429, 500, 529])} should_retry=false]]"
            case "error-retried":
                text += f" [[sim error={choice([500, 529])}]]"
            case "cut":
                text += " [[sim cut=0]]"
            case "cut-stream" | "broken":
                body["stream"] = True
                what = "cut" if kind == "cut-stream" else "broken"
                text += f" [[sim words=20 {what}={self._random.randrange(6)}]]"
            case "lost-once" | "lost-stream":
                body["stream"] = kind == "lost-stream"
                text += " [[lose=1]]"
            case "lost-always":
                text += " [[lose=9]]"
            case "hang-up":
                body["stream"] = True
                text += " [[sim words=20 hang=4]]"
            case "hang-up-early":
                body["stream"] = True
                text += " [[sim words=20 hang=0]]"
            case "hang-up-shared":
                body["stream"] = True
                text += " [[sim words=20]]"
            case "retried" | "retried-lost":  # cut short, and asked again one tier up
                body["model"] = "auto"
                text += " [[sim text=begun stop=max_tokens]]"
                if kind == "retried-lost":
                    text += " [[lose=1]]"
            case "unknown-model":
                body["model"] = "claude-haiku-99"
            case "capped":
                body["stream"] = True
                text += " [[sim words=400]]"
        keys = {"capped": self._capped, "retried": self._checked, "retried-lost": self._checked}
        keys |= dict.fromkeys(("summarised", "summarised-again"), self._talking)
        headers = {"x-api-key": keys.get(kind, self._key)}
        if kind in _MAY_LOSE:
            tag = f"n{self._number}"
            self.asked[tag] = text
            headers["x-cache-tags"] = tag
        if kind in ("hang-up", "hang-up-early"):
            headers["cache-control"] = "no-store"  # abandoned where nobody reads it any more
        if kind == "only-if-cached":
            headers["cache-control"] = "only-if-cached"
        talk = self._talk(kind) if kind.startswith("summarised") else []
        return {**body, "messages": [*talk, {"role": "user", "content": text}]}, headers

    def _talk(self, kind: str) -> list[dict[str, Any]]:
        """What was said before: long enough to be summed up; some of it was summed up before."""
        which = self._random.randrange(3) if kind == "summarised-again" else self._number
        turns = []
        for turn in range(4):
            asked = f"Tell me of tool {which}.{turn}. {_LONG[:400]}"
            turns += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": f"Tool {which}.{turn} is sharp. {_LONG[:400]}"},
            ]
        return turns

    async def _post(self, kind: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        asked = self.house.http.stream("POST", "/v1/messages", json=body, headers=headers)
        # At any moment: before the request is read, looked for, asked for, or answered.
        stays_s = self._random.uniform(0, 0.4) if kind == "hang-up-early" else None
        response = None
        try:
            async with asyncio.timeout(stays_s), asked as response:
                if response.headers.get("x-cache-reason") == "refused":
                    self.refused += 1
                async for _ in response.aiter_bytes():
                    if kind in ("hang-up", "hang-up-shared"):
                        return
        except (httpx2.HTTPError, TimeoutError):
            assert kind in ("cut", "cut-stream", "broken", "hang-up-early"), kind
            if kind == "hang-up-early" and response is None:
                self.left.add(headers["x-cache-tags"])

    async def _put(self, path: str, **fields: Any) -> None:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        done = await self.house.http.put(f"/admin/v1/{path}", headers=headers, json=fields)
        assert done.status_code == 200, done.text

    def _next(self) -> int:
        self._number += 1
        return self._number
