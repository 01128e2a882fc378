"""The prompt-cache planner on traces, in virtual time, against every fixed plan in hindsight.

    python -m scripts.benchmarks.planner [--data FOLDER]

Each request goes through the planner, its store (a real Valkey) and the simulated Claude's prompt
cache; what is compared is what the prompts cost. With --data, arrivals are those of the Azure
trace too (`azure_trace/conv.csv`), its prompts made of shared and of own parts.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cacheserver.cache import fingerprint
from cacheserver.core import json_text
from cacheserver.core.background import BackgroundWork
from cacheserver.core.types import Controls, Mark, Query, Tenant, Usage
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.languages.rules import languages
from cacheserver.observability.metrics import Metrics
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.layout import with_marks
from cacheserver.promptcache.multipliers import uncached
from cacheserver.promptcache.prefixes import Prefixes
from cacheserver.promptcache.session import PromptPlanner
from cacheserver.simulated import catalogue, promptcache
from cacheserver.simulated.promptcache import PromptCache
from cacheserver.storage.connection import connect

MODEL = "claude-sonnet-5-5"
START = 1_795_000_000.0  # in November 2026, with today's prices
LEARNED_AFTER = 20  # sightings

Fixed = Literal["none", "5m", "1h"]

_PRICER = Pricer()
_WORDS = ("refund", "policy", "delivery", "customer", "invoice", "account", "order", "answer")


@dataclass(frozen=True, slots=True)
class Request:
    at: float
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Played:
    """Cost of each prompt in nanodollars: as paid, and without the prompt cache."""

    paid: tuple[int, ...]
    plain: tuple[int, ...]


def text(tokens: int, seed: str) -> str:
    """Draw a text of about `tokens` tokens; each seed has its own."""
    drawn = random.Random(seed)
    words: list[str] = []
    left = int(tokens * 2.5)
    while left > 0:
        words.append(drawn.choice(_WORDS))
        left -= len(words[-1]) + 1
    return f"{seed}: " + " ".join(words)


def request(at: float, number: int, *, system: str = "support", tokens: int = 3_000) -> Request:
    """Return a request: a unique question under a shared system prompt."""
    body = {
        "model": MODEL,
        "max_tokens": 100,
        "system": text(tokens, system),
        "messages": [{"role": "user", "content": f"Where is my order {number}?"}],
    }
    return Request(at, body)


def steady(gap_s: float, count: int = 240) -> list[Request]:
    return [request(START + gap_s * n, n) for n in range(count)]


def bursts(size: int, pause_s: float, count: int = 240) -> list[Request]:
    """Bursts of requests one second apart, with a pause between bursts."""
    found, at = [], START
    for n in range(count):
        at += pause_s if n and n % size == 0 else 1.0
        found.append(request(at, n))
    return found


def poisson(mean_s: float, count: int = 400, seed: int = 1) -> list[Request]:
    drawn, at, found = random.Random(seed), START, []
    for n in range(count):
        at += drawn.expovariate(1 / mean_s)
        found.append(request(at, n))
    return found


def conversations(turn_s: float, turns: int = 8, count: int = 240) -> list[Request]:
    """One conversation after the other, each turn longer than a minimum."""
    found, at = [], START
    for n in range(count):
        turn = n % turns
        at += turn_s
        messages: list[dict[str, Any]] = []
        for past in range(turn + 1):
            seed = f"conversation {n // turns} turn {past}"
            messages.append({"role": "user", "content": text(400, f"user {seed}")})
            if past < turn:
                messages.append({"role": "assistant", "content": text(300, f"reply {seed}")})
        body = {"model": MODEL, "max_tokens": 100, "system": "Help.", "messages": messages}
        found.append(Request(at, body))
    return found


def unique(gap_s: float, count: int = 240, tokens: int = 3_000) -> list[Request]:
    """Prompts that share no prefix, so that every cache write is wasted."""
    return [
        request(START + gap_s * n, n, system=f"only once {n}", tokens=tokens) for n in range(count)
    ]


def azure(path: Path, kind: str, most: int) -> list[Request]:
    """The trace's arrivals and lengths. `kind`: what of a prompt is shared.

    "shared": one system prompt of the shorter half of a prompt; "few": one of 50, drawn with
    Zipf's law; "own": nothing.
    """
    drawn, found = random.Random(7), []
    with path.open(newline="") as lines:
        for n, row in enumerate(csv.DictReader(lines)):
            if n == most:
                break
            at = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            tokens = int(row["ContextTokens"])
            system = {
                "shared": "assistant",
                "few": f"assistant {min(int(drawn.paretovariate(1)), 50)}",
                "own": f"assistant for {n}",
            }[kind]
            body = {
                "model": MODEL,
                "max_tokens": 100,
                "system": text(700 if kind != "own" else max(1, tokens // 2), system),
                "messages": [{"role": "user", "content": text(max(1, tokens // 2), f"q {n}")}],
            }
            found.append(Request(at, body))
    shift = START - found[0].at
    return [Request(one.at + shift, one.body) for one in found]


@asynccontextmanager
async def planning(tenant: Tenant | None = None) -> AsyncIterator[Player]:
    """A planner over a store of its own."""
    with tempfile.TemporaryDirectory(prefix="cs-planner-") as folder:
        store = EmbeddedStore(Path(folder))
        redis = connect(await store.start())
        behind = BackgroundWork("prompts", Metrics(), limit=10_000, at_once=1)
        try:
            yield Player(Prefixes(redis), behind, tenant or Tenant("acme"))
        finally:
            await behind.close()
            await redis.aclose()
            await store.stop()


class Player:
    """Plays a trace through the planner and the simulated Claude's prompt cache."""

    def __init__(self, prefixes: Prefixes, behind: BackgroundWork, tenant: Tenant) -> None:
        self._behind = behind
        self._tenant = tenant
        self._planner = PromptPlanner(prefixes=prefixes, writes=behind, cost=_PRICER.cost)

    async def play(self, trace: Sequence[Request]) -> Played:
        cache, paid, plain = PromptCache(), [], []
        for one in trace:
            query = query_of(one.body, self._tenant)
            body, plan = await self._planner.plan(query, one.body, one.body["model"], one.at)
            assert plan is not None
            async with self._planner.turn(query, plan):
                usage = used(cache, body, one.at)
            self._planner.learn(query, plan, one.body["model"], usage, one.at)
            await self._behind.drain()
            paid.append(_cost(usage, one.at))
            plain.append(_cost(uncached(usage), one.at))
        return Played(tuple(paid), tuple(plain))


def fixed(trace: Sequence[Request], plan: Fixed) -> tuple[int, ...]:
    """Return the cost of each prompt if the system prompt is always marked with `plan`."""
    cache, paid = PromptCache(), []
    for one in trace:
        marks = [] if plan == "none" else [Mark(("system", 0), plan)]
        paid.append(_cost(used(cache, with_marks(one.body, marks), one.at), one.at))
    return tuple(paid)


def used(cache: PromptCache, body: Any, now: float) -> Usage:
    """Return the usage that Claude would report, if its answer begins at once."""
    prompt = promptcache.read(body, catalogue.find(body["model"]), owner="account")
    use = cache.look(prompt, now=now)
    cache.keep(use)
    return Usage(
        input_tokens=use.input_tokens,
        cache_read_tokens=use.read_tokens,
        cache_write_5m_tokens=use.written_5m_tokens,
        cache_write_1h_tokens=use.written_1h_tokens,
    )


def query_of(body: dict[str, Any], tenant: Tenant) -> Query:
    return fingerprint.read(
        body,
        json_text.dumps(body),
        headers={},
        tenant=tenant,
        controls=Controls(),
        upstream="simulated",
        language=languages(),
    )


def _cost(usage: Usage, now: float) -> int:
    cost = _PRICER.cost(MODEL, usage, now)
    assert cost is not None
    return cost


STEADY: dict[str, Callable[[], list[Request]]] = {
    "every 10 s": lambda: steady(10),
    "every 4 min": lambda: steady(240),
    "every 6 min": lambda: steady(360),
    "every 30 min": lambda: steady(1_800),
    "every 59 min": lambda: steady(3_540),
    "every 61 min": lambda: steady(3_660),
    "bursts of 5, 10 min apart": lambda: bursts(5, 600),
    "bursts of 5, 2 h apart": lambda: bursts(5, 7_200),
    "bursts of 15, 30 min apart": lambda: bursts(15, 1_800),
}
UNSTEADY: dict[str, Callable[[], list[Request]]] = {
    "bursts of 40, 30 min apart": lambda: bursts(40, 1_800),
    "at random, every 2 min": lambda: poisson(120),
    "at random, every 10 min": lambda: poisson(600),
    "at random, every 30 min": lambda: poisson(1_800),
    "conversations, a turn a minute": lambda: conversations(60),
    "conversations, a turn in 10 min": lambda: conversations(600),
    "nothing shared": lambda: unique(10),
}


def _row(name: str, trace: Sequence[Request], played: Played) -> str:
    plans: tuple[Fixed, ...] = ("none", "5m", "1h")
    late = {plan: sum(fixed(trace, plan)[LEARNED_AFTER:]) for plan in plans}
    best = min(plans, key=late.__getitem__)
    over = sum(played.paid[LEARNED_AFTER:]) / late[best] - 1
    whole = sum(played.paid) / sum(played.plain) - 1
    return f"| {name} | {best} | {over:+.1%} | {whole:+.1%} |"


async def _run(data: Path | None, most: int) -> None:
    print("| trace | best fixed plan | over it after 20 sightings | against no caching, whole |")
    print("|---|---|---:|---:|")
    traces = STEADY | UNSTEADY
    if data is not None:
        path = data / "azure_trace" / "conv.csv"
        traces |= {f"azure, {k}": partial(azure, path, k, most) for k in ("shared", "few", "own")}
    for name, make in traces.items():
        trace = make()
        async with planning() as player:
            print(_row(name, trace, await player.play(trace)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder with azure_trace/conv.csv")
    parser.add_argument("--most", type=int, default=20_000, help="requests of the Azure trace")
    args = parser.parse_args()
    asyncio.run(_run(args.data, args.most))


if __name__ == "__main__":
    main()
