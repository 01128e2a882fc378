"""A Claude that answers with whatever bytes a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.house import House

JSON, EVENTS = "application/json", "text/event-stream"

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": "Yes."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class Script:
    """What it answers next, and what it was asked."""

    def __init__(self) -> None:
        self.body = b"{}"
        self.kind = JSON
        self.cut = False  # the connection is lost after `body`
        self.asked = self.begun = 0
        self.connections = 0
        self.go, self.end = asyncio.Event(), asyncio.Event()  # begin to answer; end the answer
        self.go.set()
        self.end.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.split("content-length: ")[1].split("\r\n")[0]
                await reader.readexactly(int(length))
                self.asked += 1
                await self.go.wait()
                start = f"HTTP/1.1 200 OK\r\ncontent-type: {self.kind}\r\n"
                writer.write(f"{start}transfer-encoding: chunked\r\n\r\n".encode())
                if self.body:
                    writer.write(b"%x\r\n%b\r\n" % (len(self.body), self.body))
                await writer.drain()
                self.begun += 1
                await self.end.wait()
                if self.cut:
                    break
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(data_dir: Path, **settings: Any) -> AsyncIterator[tuple[House, Script]]:
    """A house whose Claude does as the script says."""
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"http://127.0.0.1:{port}"
        async with House.open(data_dir, upstream=url, **settings) as house:
            yield house, script
