"""Claims about single levers and prices."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from cacheserver.scenarios.claim import Books, Claim, num, percent, usd
from cacheserver.scenarios.sums import Tokens, cached, cost, reads_per_write, saved

_SONNET_LEAST = 2_048  # tokens: the document's own "Minimum: ... 2,048 tokens (Sonnet)"


def rows(books: Books) -> Iterator[Claim]:
    """Prompt caching, batches, tiers, then small sums."""
    yield from _prompt_caching(books)
    yield from _break_even(books)
    yield from _batches(books)
    yield from _tiers(books)
    yield from _small(books)


def _prompt_caching(books: Books) -> Iterator[Claim]:
    sonnet = books.seeds["middle"]
    for tokens, calls, paid, then in ((4_000, 1_000, 12, "1.20"), (10_000, 500, 15, "1.50")):
        full, with_cache = (
            Decimal(tokens * calls) * sonnet.input / 10**6,
            cached(sonnet, tokens, calls),
        )
        assert full == paid
        yield Claim(
            f"Caching a prefix of {tokens:,} tokens over {calls:,} calls: ${paid}.00 -> ${then} "
            "(90%)",
            "002",
            f"{usd(full)} -> {usd(with_cache, 4)} ({percent(saved(full, with_cache), 1)})",
            "holds if",
            f"One write at {usd(sonnet.write)}/M and {calls - 1} reads at {usd(sonnet.read)}/M.",
            "the first call's write is not counted, and no pause is longer than five minutes",
        )
    yield Claim(
        "Caching a prefix of 2,000 tokens over 2,000 calls: $12.00 -> $1.20 (90%)",
        "002",
        percent(Decimal(0)),
        "does not hold",
        f"2,000 tokens are fewer than the {_SONNET_LEAST:,} it says Sonnet needs: nothing is kept.",
    )
    write, hour = sonnet.write, sonnet.write_1h
    yield Claim(
        'An hour\'s caching by marking a breakpoint "ephemeral"',
        "002",
        f"{usd(hour)}/M to write, not {usd(write)}",
        "does not hold",
        f'An hour needs `ttl: "1h"`, whose write is {num(hour / sonnet.input)} times the input.',
    )


def _break_even(books: Books) -> Iterator[Claim]:
    sonnet = books.seeds["middle"]
    short, long = reads_per_write(sonnet), reads_per_write(sonnet, hour=True)
    arithmetic = (
        f"({num(sonnet.write)} - {num(sonnet.input)}) / ({num(sonnet.input)} - {num(sonnet.read)}) "
        f"= {num(short, 3)} reads a write for 5 minutes; for an hour {num(long)}."
    )
    yield Claim(
        "Prompt caching breaks even after 2 hits",
        "001",
        f"{num(short, 3)}: the first hit pays",
        "does not hold",
        arithmetic,
    )
    yield Claim(
        "Break-even is 1.2 reads per write",
        "003",
        f"{num(short, 3)} for 5 minutes, {num(long)} for an hour",
        "does not hold",
        arithmetic + " It quotes the 5-minute price, $3.75.",
    )
    yield Claim(
        "Under 1,024 tokens it takes more than 4 hits",
        "001",
        "none",
        "does not hold",
        "Under the minimum nothing is written or read; over it " + arithmetic,
    )
    least = short / (1 + short)
    yield Claim(
        "Under 30% hits the write premium outweighs",
        "001",
        percent(least, 1),
        "does not hold",
        f"{num(short, 3)} reads a write are {num(short, 3)} / (1 + {num(short, 3)}) = "
        f"{percent(least, 1)} of requests that read.",
    )
    yield Claim(
        "Cache what comes in 3 or more requests within 5 minutes",
        "002",
        "2 or more",
        "does not hold",
        "Too cautious: " + arithmetic,
    )
    yield Claim(
        "A cached read saves 90% of the input",
        "001, 002, 003",
        percent(saved(sonnet.input, sonnet.read)),
        "holds",
        f"1 - {num(sonnet.read)} / {num(sonnet.input)}, of the tokens that are read; output costs "
        "what it did.",
    )


def _batches(books: Books) -> Iterator[Claim]:
    pairs = [(books.seeds[tier], books.seeds_batch[tier]) for tier in books.seeds]
    halves = {
        saved(full, half)
        for one, batch in pairs
        for full, half in ((one.input, batch.input), (one.output, batch.output))
    }
    (half,) = halves
    yield Claim(
        "Batches cost half: $16 -> $8, $150 -> $75, $900 -> $450",
        "001, 002, 003",
        percent(half),
        "holds",
        "Every rate of every tier halves; the lengths behind the three bills are not stated.",
    )
    sonnet, haiku = books.seeds_batch["middle"], books.seeds["low"]
    in_, out = sonnet.input / haiku.input, sonnet.output / haiku.output
    now = books.today_batch["middle"].input / books.today["low"].input
    yield Claim(
        "Sonnet in batches ($1.50/$7.50) is cheaper than Haiku ($0.80/$4.00)",
        "001",
        f"{num(in_, 3)} times dearer",
        "does not hold",
        f"{num(sonnet.input)} / {num(haiku.input)} = {num(in_, 3)} for input, "
        f"{num(sonnet.output)} / {num(haiku.output)} = {num(out, 3)} for output, so for every mix. "
        f"At today's prices {num(now)} times.",
    )


def _tiers(books: Books) -> Iterator[Claim]:
    low, middle, high = (books.seeds[tier] for tier in ("low", "middle", "high"))
    ratios = sorted({one.output / one.input for one in (low, middle, high)})
    told = " and ".join(num(ratio) for ratio in ratios)
    yield Claim(
        "Output costs 3 to 5 times the input",
        "001",
        f"{told} times, for every tier",
        "does not hold",
        "; ".join(
            f"{num(o.output)} / {num(o.input)} = {num(o.output / o.input)}"
            for o in (low, middle, high)
        ),
    )
    yield Claim(
        "Output costs 5 times the input",
        "002",
        f"{told} times",
        "holds",
        "As above, at the same prices.",
    )
    yield Claim(
        "Opus costs 4 times Sonnet's input",
        "003",
        f"{num(high.input / middle.input)} times",
        "does not hold",
        f"{num(high.input)} / {num(middle.input)}; its output too, {num(high.output)} / "
        f"{num(middle.output)}.",
    )
    yield Claim(
        "Haiku costs a 13th of Opus",
        "003",
        f"1/{num(high.input / low.input)}",
        "does not hold",
        f"{num(high.input)} / {num(low.input)} = {num(high.output)} / {num(low.output)} = "
        f"{num(high.input / low.input)}.",
    )
    share = saved(middle.input, low.input)
    yield Claim(
        "Haiku's input is 73% cheaper than Sonnet's",
        "001",
        percent(share, 1),
        "holds",
        f"1 - {num(low.input)} / {num(middle.input)}.",
    )


def _small(books: Books) -> Iterator[Claim]:
    sonnet = books.seeds["middle"]
    call = cost(sonnet, Tokens(2_000, 500))
    yield Claim(
        "2,000 in and 500 out of Sonnet: $0.0135, $135 for 10,000 calls",
        "002",
        f"{usd(call, 4)}, {usd(10_000 * call)}",
        "holds",
        f"2,000 x {num(sonnet.input)}/M + 500 x {num(sonnet.output)}/M.",
    )
    shorter = 10**6 * cost(sonnet, Tokens(32))
    yield Claim(
        "32 tokens fewer over a million calls save $96",
        "002",
        usd(shorter),
        "holds",
        f"32 x 1,000,000 x {num(sonnet.input)}/M.",
    )
    best = saved(sonnet.input, books.seeds_batch["middle"].read)
    route = saved(books.seeds["high"].input, books.seeds["low"].input)
    yield Claim(
        "All levers together cut costs by up to 90%",
        "001, 002",
        f"{percent(best)} of a prefix read in a batch; {percent(route, 1)} by Opus to Haiku",
        "holds if",
        f"1 - {num(books.seeds_batch['middle'].read)} / {num(sonnet.input)} and 1 - "
        f"{num(books.seeds['low'].input)} / {num(books.seeds['high'].input)}; of one model's "
        "output a batch saves half and no other lever but a hit saves anything.",
        "nearly all tokens are a cached prefix, or the work can move from Opus to Haiku",
    )
