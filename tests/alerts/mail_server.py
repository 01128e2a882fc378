"""A mail server small enough to read: takes a letter, or refuses whom it is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Post:
    """What arrived, and at which port."""

    port: int = 0
    refuse: bool = False
    letters: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        letter: list[str] | None = None
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            verb = line[:4].upper()
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                letter = []
                while (line := (await reader.readline()).decode().rstrip("\r\n")) != ".":
                    letter.append(line)
                self.letters.append("\n".join(letter))
                writer.write(b"250 taken\r\n")
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                refused = self.refuse and verb == "RCPT"
                writer.write(b"550 nobody\r\n" if refused else b"250 ok\r\n")
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def mail_server() -> AsyncIterator[Post]:
    post = Post()
    server = await asyncio.start_server(post.serve, "127.0.0.1", 0)
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
        await server.wait_closed()
