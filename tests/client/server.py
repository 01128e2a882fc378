"""A small real server on a real socket that keeps the contract the client relies on."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "cs_test"


@dataclass(frozen=True, slots=True)
class Fault:
    """What one request gets instead of its answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str = "api_error"
    body: bytes | None = None  # instead of an error in Anthropic's shape


@dataclass(slots=True)
class Contract:
    """The server's side of the contract: an exact cache, and faults on demand."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    all_fail: Fault | None = None  # whatever is asked
    seen: list[tuple[str, dict[str, Any], Mapping[str, str]]] = field(default_factory=list)
    stored: dict[str, str] = field(default_factory=dict)  # prompt -> entry id
    unserved: str = "only-if-cached"  # why, where `cache="only"` finds nothing
    cut_streams: bool = False  # close the connection in the middle of a stream
    break_streams: bool = False  # an error event in the middle of a stream

    async def query(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if refused := self._refused(request, body):
            return refused
        prompt = str(body.get("prompt") or body["messages"][-1]["content"])
        kind = "exact" if prompt in self.stored and body["cache"] != "refresh" else "miss"
        if body["cache"] == "only" and kind == "miss":
            headers = {"x-cache": "miss", "x-cache-reason": self.unserved}
            return _error(404, "not_found_error", {**headers, "x-should-retry": "false"})
        entry_id = self.stored.setdefault(prompt, f"{len(self.stored):032x}")
        headers = {
            "x-cache": kind,
            "x-cache-reason": kind,
            "x-cache-entry": entry_id,
            "x-cache-decision": "dec_1",
            "request-id": "req_1",
        }
        if kind == "exact":
            headers |= {"x-cache-age": "12", "x-cache-similarity": "1.000000"}
        text = f"You asked: {prompt}"
        if body.get("stream"):
            return StreamingResponse(
                self._events(text), media_type="text/event-stream", headers=headers
            )
        answer = {
            "text": text,
            "content": [{"type": "text", "text": text}],
            "decision": {
                "kind": kind,
                "reason": kind,
                "similarity": 1.0 if kind == "exact" else None,
                "question": prompt if kind == "exact" else None,
                "age_s": 12 if kind == "exact" else None,
                "bar": 0.95,
            },
            "model": "claude-haiku-5-5",
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 30},
            "ttl_s": 3600,
            "cost_usd": "0.000011000",
            "saved_usd": "0.000011000" if kind == "exact" else "0.000000000",
            "batch_eligible": False,
            "entry_id": entry_id,
            "decision_id": "dec_1",
        }
        return JSONResponse(answer, headers=headers)

    async def stats(self, request: Request) -> Response:
        return self._refused(request, {}) or JSONResponse({"requests": len(self.seen)})

    async def purge(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if refused := self._refused(request, body):
            return refused
        gone = [p for p, id in self.stored.items() if body.get("entry_id", id) == id]
        for prompt in gone:
            del self.stored[prompt]
        return JSONResponse({"purged": len(gone)})

    async def erase(self, request: Request) -> Response:
        body = json.loads(await request.body())
        return self._refused(request, body) or JSONResponse({"erased": min(body)})

    async def decision(self, request: Request) -> Response:
        if refused := self._refused(request, {}):
            return refused
        if request.path_params["id"] != "dec_1":
            return _error(404, "not_found_error", {})
        return JSONResponse({"id": "dec_1", "decision": {"kind": "miss"}})

    async def _events(self, text: str) -> AsyncIterator[bytes]:
        yield _event({"type": "message_start", "message": {"content": []}})
        yield b": a comment\n\n"
        yield _event({"type": "ping"})
        half = len(text) // 2
        for piece in (text[:half], text[half:]):
            delta = {"type": "text_delta", "text": piece}
            raw = _event({"type": "content_block_delta", "index": 0, "delta": delta})
            yield raw[:30]  # an event need not arrive in one piece
            yield raw[30:]
            if self.cut_streams:
                return
            if self.break_streams:
                error = {"type": "overloaded_error", "message": "busy"}
                yield _event({"type": "error", "error": error, "request_id": "req_up"})
                return
        yield _event({"type": "message_stop"})

    async def anything(self, request: Request) -> Response:
        refused = self._refused(request, {})
        assert refused is not None  # it is asked for only while all fails
        return refused

    def _refused(self, request: Request, body: dict[str, Any]) -> Response | None:
        self.seen.append((request.url.path, body, dict(request.headers)))
        if self.all_fail is not None:
            return _error(self.all_fail.status, self.all_fail.type, self.all_fail.headers)
        if self.faults:
            fault = self.faults.pop(0)
            if fault.body is not None:
                return Response(fault.body, fault.status, dict(fault.headers))
            return _error(fault.status, fault.type, fault.headers)
        keys = (request.headers.get("authorization"), request.headers.get("x-cacheserver-key"))
        if f"Bearer {KEY}" not in keys and KEY not in keys:
            return _error(401, "authentication_error", {})
        return None


@contextlib.contextmanager
def serving() -> Iterator[Contract]:
    """A server in a thread. The socket listens before it starts, so nobody has to wait."""
    contract = Contract()
    app = Starlette(
        routes=[
            Route("/v1/query", contract.query, methods=["POST"]),
            Route("/v1/stats", contract.stats),
            Route("/v1/purge", contract.purge, methods=["POST"]),
            Route("/v1/erase", contract.erase, methods=["POST"]),
            Route("/admin/v1/tenants/{name:path}/erase", contract.erase, methods=["POST"]),
            Route("/v1/decisions/{id}", contract.decision),
            Route("/{path:path}", contract.anything, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        contract.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield contract
        finally:
            server.should_exit = True
            thread.join()


def _error(status: int, type: str, headers: Mapping[str, str]) -> Response:
    body = {"type": "error", "error": {"type": type, "message": "no"}}
    return JSONResponse(body, status, {"request-id": "req_e", **headers})


def _event(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
