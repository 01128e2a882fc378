"""Requests that cost much or are meant to break something, and a pulse that tells who waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from urllib.parse import urlsplit

from scripts.chaos_run.caller import HIT_LIMIT_S, MISS_LIMIT_S, Caller, Tenant
from scripts.chaos_run.history import MODEL, Called

PULSE_S = 0.2
# Nobody else's request stops the loop for long. Stalls that were seen took 8 to 14 s; on a busy
# machine a request that costs nothing takes most of a second now and then.
PULSE_LIMIT_S = 2.0
FLOOD = 2**26  # bytes of one header: a thousand times what is taken
REFUSED_S = 10.0  # until a refusal is there; the server may be stopped for 3 s meanwhile
LORISES = 20
MESSAGES = 1_000_000
REFUSED = frozenset({400, 413})

_ASKED = {"model": MODEL, "max_tokens": 10, "prompt": "What is the strain"}
_DEEP = "[" * 600 + "]" * 600
# Refused; each once was a 500, or was passed over as if nobody had sent it.
_BAD: tuple[tuple[str, str, dict[str, object], dict[str, str]], ...] = (
    ("POST", "/v1/query", _ASKED, {"x-cache-check": f'{{"schema": {{"enum": {_DEEP}}}}}'}),
    ("POST", "/v1/query", _ASKED, {"x-cache-tll": "0"}),
    ("POST", "/v1/query", _ASKED, {"x-cache-namespce": "secret"}),
    ("PUT", "/admin/v1/tenants/one", {"stale_s": 2**70}, {}),
    ("PUT", "/admin/v1/tenants/one/bars", {"bar": {"vetoes_off": [{}]}}, {}),
)


class Strain:
    """Asks what strains a server, until cancelled."""

    def __init__(self, caller: Caller, tenant: Tenant, seed: int) -> None:
        self._caller = caller
        self._tenant = tenant
        self._draw = random.Random(f"strain {seed}")
        turn = b'{"role":"user","content":"a"},' * MESSAGES
        self._many = (
            b'{"model":"%s","max_tokens":1,"messages":[' % MODEL.encode() + turn[:-1] + b"]}"
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._ask_again())
            group.create_task(self._strain())

    async def _beat(self) -> None:
        while True:
            await self._caller.call("GET", "/healthz", limit_s=PULSE_LIMIT_S)
            await asyncio.sleep(PULSE_S)

    async def _ask_again(self) -> None:
        """Ask for what is stored and for nothing else: that waits for nobody."""
        while True:
            await self._caller.ask(
                self._tenant,
                "default",
                "What is the scale of this machine",
                control="only-if-cached",
                limit_s=HIT_LIMIT_S,
            )
            await asyncio.sleep(2 * PULSE_S)

    async def _strain(self) -> None:
        kinds = (self._bad, self._bad, self._schema, self._messages, self._flood, self._loris)
        while True:
            for kind in self._draw.sample(kinds, len(kinds)):
                await asyncio.sleep(self._draw.uniform(1, 3))
                with contextlib.suppress(OSError):
                    await kind()

    async def _bad(self) -> None:
        for method, path, body, headers in _BAD:
            head = dict(headers)
            if not path.startswith("/admin"):
                head["x-api-key"] = self._tenant.key
            what = f"{method} {path} with {', '.join(headers) or json.dumps(body)[-40:]}"
            await self._caller.call(method, path, what=what, body=body, headers=head, right=REFUSED)
        # A schema that makes no sense forbids nothing.
        odd = _ASKED | {"check": {"schema": {"type": [[]]}}}
        await self._caller.call("POST", "/v1/query", key=self._tenant.key, body=odd)
        await self._caller.call("HEAD", "/v1/models", key=self._tenant.key)
        await self._caller.call("HEAD", "/healthz", right=frozenset({200}))

    async def _schema(self) -> None:
        body = _ASKED | {"check": {"schema": {"$ref": "#/" + "a/" * 500_000}}}
        await self._big("a schema of a megabyte", "/v1/query", json.dumps(body).encode())

    async def _messages(self) -> None:
        await self._big("a million messages", "/v1/messages", self._many)

    async def _big(self, what: str, path: str, body: bytes) -> None:
        await self._caller.call(
            "POST",
            path,
            key=self._tenant.key,
            what=what,
            limit_s=MISS_LIMIT_S,
            body=body,
            headers={"content-type": "application/json"},
            right=REFUSED,
        )

    async def _flood(self) -> None:
        """Send a header that does not end, and read the refusal."""
        started, content = time.time(), b""
        reader, writer = await self._connect()
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ")
            for _ in range(FLOOD // 2**16):
                if writer.is_closing():  # the server is killed; else it reads on, and forgets
                    return
                writer.write(b"a" * 2**16)
                await writer.drain()
            with contextlib.suppress(TimeoutError):
                content = await asyncio.wait_for(reader.read(12), REFUSED_S)
        finally:
            writer.close()
        wrong = None if content.startswith(b"HTTP/1.1 4") else f"was not refused: {content!r}"
        called = Called(started, time.time(), "a header without an end", None, wrong=wrong)
        self._caller.history.called.append(called)

    async def _loris(self) -> None:
        """Send headers byte by byte on many connections."""
        async with contextlib.AsyncExitStack() as stack:
            writers = []
            for _ in range(LORISES):
                _, writer = await self._connect()
                stack.callback(writer.close)
                writers.append(writer)
            for _ in range(30):
                for writer in writers:
                    if not writer.is_closing():
                        writer.write(b"G")
                await asyncio.sleep(0.1)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        at = urlsplit(self._caller.url)
        return await asyncio.open_connection(at.hostname, at.port)
