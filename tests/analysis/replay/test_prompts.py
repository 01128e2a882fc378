"""A replayed trace costs what it does with the planner, its store and the simulated Claude."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.prompts import Prompts
from cacheserver.analysis.replay.seen import Reader
from cacheserver.core.types import Tenant, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.english.language import english
from cacheserver.promptcache.multipliers import uncached
from cacheserver.simulated import catalogue, promptcache
from scripts.benchmarks.planner import (
    MODEL,
    Request,
    bursts,
    conversations,
    planning,
    poisson,
    steady,
    unique,
)
from tests.analysis.replay.calls import PRICER, call, cost

TRACES = {
    "steady": steady(240, 60),
    "slow": steady(2_000, 60),
    "bursts": bursts(5, 900, 100),
    "at random": poisson(300, 150),
    "conversations": conversations(60, count=80),
    "nothing shared": unique(10, 40),
}


def tokens(body: object) -> int:
    """The prompt's tokens, as the simulated Claude counts them."""
    asked = promptcache.read(body, catalogue.find(MODEL), owner="x")  # type: ignore[arg-type]
    return sum(block.tokens for block in asked.blocks)


def replayed(trace: Sequence[Request]) -> list[Usage]:
    reader, prompts = Reader(Tenant("acme"), english()), Prompts(PRICER.cost)
    found = []
    for one in trace:
        usage = Usage(tokens(one.body))
        seen = reader.see(Call(one.at, MODEL, usage, body=one.body, tenant="acme"))
        assert seen is not None
        found.append(prompts.used(seen, MODEL, usage, one.at)[0])
    return found


@pytest.mark.parametrize("name", TRACES)
async def test_a_trace_costs_what_it_costs_in_the_server(name: str) -> None:
    trace = TRACES[name]
    async with planning() as player:
        paid = (await player.play(trace)).paid
    ours = [cost(MODEL, usage, one.at) for usage, one in zip(replayed(trace), trace, strict=True)]
    # Claude's own counts against the layout's, which here only share the prompt out.
    assert sum(ours) == pytest.approx(sum(paid), rel=0.01)
    for mine, theirs in zip(ours, paid, strict=True):
        assert mine == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize("name", TRACES)
def test_no_token_is_lost_or_made(name: str) -> None:
    for usage, one in zip(replayed(TRACES[name]), TRACES[name], strict=True):
        assert prompt_tokens(usage) == tokens(one.body)
        assert uncached(usage).input_tokens == tokens(one.body)


def test_what_the_caller_marked_is_left_alone() -> None:
    marked = [{"type": "text", "text": "x" * 9_000, "cache_control": {"type": "ephemeral"}}]
    plain = Reader(Tenant("acme"), english()).see(call(system="x" * 9_000))
    own = Reader(Tenant("acme"), english()).see(call(system=marked))
    assert plain is not None
    assert own is not None
    prompts, usage = Prompts(PRICER.cost), Usage(4_000, 5)
    assert prompts.used(own, MODEL, usage, 0.0) == (usage, "caller-marked")
    read = Usage(100, 5, cache_read_tokens=3_900)
    assert prompts.used(plain, MODEL, read, 0.0) == (read, "caller-marked")
    assert prompts.used(plain, MODEL, Usage(100), 0.0)[1] == "too-short"
