"""Load that counts what it was answered, until the server is gone: hits, and now and then a miss.

Arguments: URL KEY CLIENTS ENTRIES MISS_EVERY. Prints `begun`, and at the end how many answers and
how many a second. They are counted when their last byte is here: what is counted must be in the
ledger.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from urllib.parse import urlsplit

import uvloop

from scripts.benchmarks.processes.server import body, question

_FIRST_NEW = 50_000_000


async def main(url: str, key: str, clients: int, entries: int, miss_every: int) -> None:
    address = urlsplit(url)
    numbers = itertools.count()
    answered = 0
    started = 0.0

    async def client() -> None:
        nonlocal answered, started
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while True:
            number = next(numbers)
            new = number % miss_every == 0
            asked = question(_FIRST_NEW + number if new else number % entries)
            raw = json.dumps(body(asked)).encode()
            writer.write(
                b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: %s\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                % (key.encode(), len(raw), raw)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.splitlines()[0].decode())
            answered += 1
            if answered == clients:
                started = time.perf_counter()
                print("begun", flush=True)

    async def until_gone() -> None:
        try:
            await client()
        except (OSError, asyncio.IncompleteReadError):
            return  # killed, as planned

    await asyncio.gather(*(until_gone() for _ in range(clients)))
    print(json.dumps([answered, (answered - clients) / (time.perf_counter() - started)]))


uvloop.run(main(sys.argv[1], sys.argv[2], *(int(given) for given in sys.argv[3:])))
