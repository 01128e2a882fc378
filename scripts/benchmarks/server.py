"""The real server for a benchmark, filled with entries, and a bare route beside it to compare with.

Run as `python -m scripts.benchmarks.server DATA_DIR UPSTREAM ENTRIES BAR`; prints its port.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from cacheserver import bootstrap
from cacheserver.api.components import Components
from cacheserver.app import create_app
from cacheserver.cache import fingerprint
from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings
from cacheserver.core import json_text
from cacheserver.core.types import Controls, Entry, Query, Tenant
from cacheserver.core.usage import usage_of

ADMIN_KEY = "an-admin-key-for-benchmarks"
MODEL = "claude-haiku-5-5"
_AT_ONCE = 64
_VERBS = (
    "cancel change check clean compare copy debug describe export find fix install measure merge "
    "move open paint pay print repair replace sell share translate update"
)
_NOUNS = (
    "account address bicycle budget camera car contract database dog email garden guitar house "
    "insurance invoice kitchen laptop letter loan map medicine passport password phone piano "
    "picture plan poem printer program recipe report roof router song spreadsheet tax ticket "
    "website window"
)
_ANSWER = "This answer stands for one of ordinary length. " * 20  # about 1 kB


def body(text: str) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": text}]}


def question(number: int) -> str:
    return f"How do I return item {number}?"


def message() -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": _ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 20, "output_tokens": 300},
    }


def read(parts: Components, tenant: Tenant, text: str) -> Query:
    asked = body(text)
    return fingerprint.read(
        asked,
        json_text.dumps(asked),
        headers={},
        tenant=tenant,
        controls=Controls(),
        upstream=parts.upstream.identity,
        language=parts.language,
    )


def entry(query: Query) -> Entry:
    now = time.time()
    return Entry(
        id=f"{int(now * 1000):012x}{secrets.token_hex(10)}",
        tenant=query.tenant.name,
        namespace="default",
        fingerprint=query.fingerprint,
        scope=query.scope,
        text=query.text,
        model=MODEL,
        message=json_text.dumps(message()),
        usage=usage_of(message()),
        cost=152_000,
        tags=(),
        created_at=now,
        expires_at=now + 86_400,
    )


async def fill(parts: Components, entries: int) -> None:
    """Store `entries` answers in one scope. The vectors of all but 1,000 are drawn, not computed.

    They are spread around questions of many subjects, so that inverted lists built over them are
    as even as real ones: around a thousand questions of one form most lists would be empty.
    """
    tenant = await parts.tenants.get("default")
    semantic = parts.entries
    real = [read(parts, tenant, question(n)) for n in range(min(entries, 1_000))]
    for start in range(0, len(real), _AT_ONCE):
        await asyncio.gather(
            *(
                semantic.put(entry(q), keep_s=0, asked_at=time.time())
                for q in real[start:][:_AT_ONCE]
            )
        )
    near = await semantic.near(real[0], 1)
    assert near.candidates
    rng = np.random.default_rng(0)
    subjects = [f"How do I {verb} my {noun}?" for verb in _VERBS.split() for noun in _NOUNS.split()]
    centres = np.asarray([await semantic.vector(subject) for subject in subjects])
    waiting: list[Any] = []
    for n in range(len(real), entries):
        drawn = rng.standard_normal(centres.shape[1])
        vector = centres[n % len(centres)] + drawn / np.linalg.norm(drawn) * rng.uniform(0.3, 1.5)
        made = entry(read(parts, tenant, question(n)))
        unit = np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
        waiting.append(semantic.put_vector(made, unit, keep_s=0, asked_at=time.time()))
        if len(waiting) == _AT_ONCE:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)
    await semantic.tend()


def bare(app: FastAPI) -> None:
    """A FastAPI route that does nothing: the yardstick, in the same server, with the same bytes."""
    answer = json_text.dumps({"id": "msg_cache_0123456789abcdef01234567", **message()})

    @app.post("/bare")
    async def _(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")


async def main(
    data_dir: str,
    upstream: str,
    entries: int,
    bar: float,
    *,
    access_log: Literal["on", "off"] = "off",
    otel: OtelChoice | None = None,
) -> None:
    settings = Settings(
        data_dir=Path(data_dir),
        model_dir=Path("var/model"),
        upstream=upstream,
        anthropic_api_key=SecretStr("sk-ant-benchmark"),
        admin_key=SecretStr(ADMIN_KEY),
        top_k=5,
        similarity=bar,
        default_ttl_s=86_400,
        max_bytes=None,
        max_waiting=1_000,
        store_wait_s=5,  # one core is shared by the server, the store and whatever else is running
        access_log=access_log,
    )
    async with bootstrap.build(settings, otel=otel) as parts:
        default = await parts.tenants.get("default")
        # The questions differ in nothing but a number: these two vetoes would refuse every hit.
        served = replace(default.bar, vetoes_off=("numeric", "substitution"))
        await parts.tenants.put(replace(default, bar=served))
        await _serve(create_app(parts, settings), parts, entries)


async def _serve(app: FastAPI, parts: Components, entries: int) -> None:
    bare(app)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1_024)
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await parts.entries.restored.wait()
    started = time.perf_counter()
    await fill(parts, entries)
    print(listener.getsockname()[1], round(time.perf_counter() - started, 1), flush=True)
    await serving


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
