"""Fill the embedded store of a data directory with answers: half in one scope, the rest in others.

Arguments: DATA_DIR ANSWERS SCOPES. The first answers are to questions that can be asked
(`scripts.benchmarks.scale.restart`), with their own vectors; those of the rest are drawn.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cacheserver import bootstrap
from cacheserver.api.components import Components
from cacheserver.cache import fingerprint
from cacheserver.config.settings import Settings
from cacheserver.core import json_text
from cacheserver.core.types import Controls, Entry, Tenant
from scripts.benchmarks.index import drawn
from scripts.benchmarks.processes import server

_AT_ONCE = 64
SUBJECTS = [f"{verb} my {noun}" for verb in server.VERBS for noun in server.NOUNS]


def question(number: int) -> str:
    return f"How do I {SUBJECTS[number % len(SUBJECTS)]}?"


def answer_to(number: int) -> str:
    """Return the text by which an answer is recognised."""
    return f"Answer {number}. "


def asked_of(answers: int) -> int:
    """Return how many of so many answers are to questions that can be asked."""
    return min(len(SUBJECTS), answers // 4)


async def fill(parts: Components, answers: int, scopes: int) -> None:
    """Store the answers. The index is not filled: a start without a snapshot does that."""
    tenant = await parts.tenants.get("default")
    asked, halves = asked_of(answers), _halves(answers)
    waiting = []
    for number in range(answers):
        is_first = number < asked or number % 2 == 1 or scopes == 1
        scope = 0 if is_first else 1 + number // 2 % (scopes - 1)
        vector = await parts.entries.vector(question(number)) if number < asked else None
        half = next(halves) if vector is None else vector.astype(np.float16).tobytes()
        made = _entry(parts, tenant, number, scope, is_asked=number < asked)
        waiting.append(parts.entries.entries.put(made, keep_s=0, vector=half, asked_at=time.time()))
        if len(waiting) == _AT_ONCE:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)


def _halves(answers: int) -> Iterator[bytes]:
    for rows in drawn(answers):
        for row in rows.astype(np.float16):
            yield row.tobytes()


def _entry(parts: Components, tenant: Tenant, number: int, scope: int, *, is_asked: bool) -> Entry:
    body = server.body(question(number) if is_asked else f"Question {number}?")
    if scope:
        body["system"] = f"You answer about subject {scope}."
    query = fingerprint.read(
        body,
        json_text.dumps(body),
        headers={},
        tenant=tenant,
        controls=Controls(),
        upstream=parts.upstream.identity,
        language=parts.language,
    )
    message = server.message()
    message["content"][0]["text"] = answer_to(number) + message["content"][0]["text"]
    return replace(server.entry(query), message=json_text.dumps(message))


async def main(words: Sequence[str]) -> None:
    data_dir, answers, scopes = Path(words[0]), int(words[1]), int(words[2])
    settings = Settings(
        data_dir=data_dir,
        model_dir=Path("var/model"),
        upstream="simulated",
        max_bytes=None,
        default_ttl_s=86_400,
    )
    async with bootstrap.build(settings) as parts:
        await parts.entries.restored.wait()
        await fill(parts, answers, scopes)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1:]))
