"""A Claude that fails as its script says, call by call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.hostile.claude import MESSAGE
from tests.house import House, serving


@dataclass(frozen=True, slots=True)
class Says:
    """One answer. After its body it ends, hangs, or is cut; a hang may come before its head."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    then: Literal["end", "hang", "cut"] = "end"
    head: bool = True


WELL = Says(body=json.dumps(MESSAGE).encode(), headers={"content-type": "application/json"})
HANGS = Says(head=False, then="hang")


def fails(status: int, **headers: str) -> Says:
    body = {"type": "error", "error": {"type": "api_error", "message": "as told"}}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Says(status, {"content-type": "application/json", **sent}, json.dumps(body).encode())


Script: TypeAlias = Callable[[dict[str, Any]], Says]


class Failing:
    """An ASGI app. `script` tells of each body what is answered; `asked` are those that came."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.retry_counts: list[str] = []
        self.closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        asked = json.loads(raw) if raw else {}
        self.asked.append(asked)
        self.retry_counts.append(request.headers.get("x-stainless-retry-count", ""))
        says = self.script(asked)
        if says.then == "end":
            await Response(says.body, says.status, dict(says.headers))(scope, receive, send)
            return
        if says.head:
            headers = [(n.encode(), v.encode()) for n, v in says.headers.items()]
            await send({"type": "http.response.start", "status": says.status, "headers": headers})
            await send({"type": "http.response.body", "body": says.body, "more_body": True})
        if says.then == "hang":
            left = asyncio.create_task(self._left(receive))
            closing = asyncio.create_task(self.closing.wait())
            await asyncio.wait({left, closing}, return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            closing.cancel()

    async def _left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@asynccontextmanager
async def failing(
    data_dir: Path, script: Script, **settings: Any
) -> AsyncIterator[tuple[House, Failing]]:
    """A house whose Claude fails as told."""
    claude = Failing(script)
    async with (
        serving(claude) as url,
        House.open(data_dir, upstream=url, **settings) as house,
    ):
        try:
            yield house, claude
        finally:
            claude.closing.set()
