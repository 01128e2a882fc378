"""The real server for a benchmark, filled with entries, and a bare route beside it to compare with.

Arguments: DATA_DIR UPSTREAM ENTRIES, and options. Prints its port, a key with limits on, and how
long it took to fill, as JSON. A directory that was filled by an earlier run is served as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from cacheserver import bootstrap
from cacheserver.api.components import Components
from cacheserver.api.server.connections import Connections
from cacheserver.api.server.protocol import ServerConfig
from cacheserver.app import collect_rarely, create_app, limits_of
from cacheserver.budgets import rate_limits
from cacheserver.cache import fingerprint
from cacheserver.cache.build import Embedding
from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings
from cacheserver.core import json_text
from cacheserver.core.rules.limits import Limits
from cacheserver.core.types import Controls, Entry, Query, Tenant
from cacheserver.core.usage import usage_of
from cacheserver.embedding import build as embedding
from cacheserver.index.models import Vectors
from cacheserver.ledger import writer

ADMIN_KEY = "an-admin-key-for-benchmarks"
MODEL = "claude-haiku-5-5"
_AT_ONCE = 64
_FOLDED = 50  # records
# So high that nobody is refused: what is measured is that they are counted.
_LIMITS = Limits(
    requests_per_minute=10_000_000, concurrent_misses=1_000_000, tokens_per_minute=10**12
)
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
VERBS, NOUNS = _VERBS.split(), _NOUNS.split()
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
    if entries <= len(real):
        return
    rng = np.random.default_rng(0)
    subjects = [f"How do I {verb} my {noun}?" for verb in VERBS for noun in NOUNS]
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


async def fill_exact(parts: Components, entries: int) -> None:
    """Store `entries` answers that no similarity finds."""
    tenant = await parts.tenants.get("default")
    for number in range(entries):
        found = entry(read(parts, tenant, question(number)))
        await parts.entries.put(found, keep_s=0, asked_at=time.time(), embed=False)


def beside_bare(app: FastAPI) -> FastAPI:
    """Return `app` with the yardstick in it: a route that does nothing, with the same bytes.

    It is the first, so that the other routes do not make it slower the more there are.
    """
    answer = json_text.dumps({"id": "msg_cache_0123456789abcdef01234567", **message()})

    @app.post("/bare")
    async def _(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    app.router.routes.insert(0, app.router.routes.pop())
    return app


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("upstream")
    parser.add_argument("entries", type=int)
    parser.add_argument("--bar", type=float, default=1.0, help="similarity that serves")
    parser.add_argument("--redis", help="a store of one's own")
    parser.add_argument("--sets", help="a Redis 8 that holds the vectors, in vector sets")
    parser.add_argument("--off", default="", help="features that are off")
    parser.add_argument("--exact", action="store_true", help="no embedder: answers by exact match")
    return parser.parse_args(given)


async def main(
    given: argparse.Namespace,
    *,
    access_log: Literal["on", "off"] = "off",
    otel: OtelChoice | None = None,
) -> None:
    """Serve until the process is ended."""
    if given.exact:
        embedding.build = _without_model
        _count_instead_of_waiting()
    settings = Settings(
        data_dir=given.data_dir,
        model_dir=Path("var/model"),
        upstream=given.upstream,
        redis_url=given.redis,
        index="faiss" if given.sets is None else "vector-sets",
        index_redis_url=given.sets,
        features_off=given.off,
        anthropic_api_key=SecretStr("sk-ant-benchmark"),
        admin_key=SecretStr(ADMIN_KEY),
        top_k=5,
        similarity=given.bar,
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
        _, key = await parts.tenants.create_key(
            "default", "benchmark", expires_at=None, limits=_LIMITS
        )
        await _serve(parts, settings, given, key)


async def _serve(
    parts: Components, settings: Settings, given: argparse.Namespace, key: str
) -> None:
    app = beside_bare(create_app(parts, settings))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1_024)
    server = uvicorn.Server(ServerConfig(app, Connections(limits_of(settings))))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await parts.entries.restored.wait()
    collect_rarely()  # as a server does before it serves
    started = time.perf_counter()
    filled = given.data_dir / "filled"
    if not filled.exists():
        await (fill_exact if given.exact else fill)(parts, given.entries)
        filled.touch()
    took = round(time.perf_counter() - started, 1)
    print(json.dumps({"port": listener.getsockname()[1], "key": key, "fill_s": took}), flush=True)
    await serving


class _NoModel:
    """An embedder for a server that answers by exact match alone."""

    id, dim = "none", 8

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.eye(self.dim, dtype=np.float32)[[0] * len(texts)]


def _count_instead_of_waiting() -> None:
    """Do what follows answers after so many of them, not by the clock.

    Instructions of a request are counted here, and on a slow machine fewer requests share a second.
    """
    writer._FOLD_S = rate_limits._AHEAD_S = 3_600.0
    writer._FOLD_ROWS = _FOLDED


@contextlib.asynccontextmanager
async def _without_model(settings: Settings) -> AsyncIterator[Embedding]:
    yield Embedding(_NoModel())


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(arguments()))
