"""Claims about whole workloads: support, documents, code review, the audit, routing mixes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from cacheserver.scenarios.claim import Books, Claim, num, percent, usd
from cacheserver.scenarios.sums import MILLION, Tokens, cost, mixed, saved, share_moved

_HAIKU_70 = {"low": Decimal("0.7"), "middle": Decimal("0.3")}


def rows(books: Books) -> Iterator[Claim]:
    """In the order of the documents."""
    yield _support(books)
    yield _documents(books)
    yield _review(books)
    yield _audit(books)
    for simple, medium, hard, claimed in ((70, 20, 10, 84), (50, 30, 20, 70), (30, 40, 30, 55)):
        yield _mix(books, simple, medium, hard, claimed)
    yield from _interactions()


def support(books: Books, prefix: int, tokens: Tokens) -> tuple[Decimal, Decimal]:
    """A month's dollars routed and cached, and then with every first turn of four a hit."""
    read = Tokens(tokens.input - prefix, tokens.output, prefix)
    cached = 200_000 * mixed(books.seeds, _HAIKU_70, read)
    return cached, cached * Decimal("0.75")


def _support(books: Books) -> Claim:
    turns, paid, then = 50_000 * 4, Decimal(3_600), Decimal(420)
    sonnet = books.seeds["middle"]
    turn = paid / turns
    lengths = (Tokens(3_000, 600), Tokens(4_500, 300), Tokens(5_000, 200))
    fits = [one for one in lengths if cost(sonnet, one) == turn]
    routed = turns * mixed(books.seeds, _HAIKU_70, fits[0])
    prefixes = [one.input - 500 for one in fits]
    ends = [support(books, p, one) for p, one in zip(prefixes, fits, strict=True)]
    hits = saved(ends[0][0], then)
    told = "; ".join(
        f"{one.input:,} in ({p:,} cached) and {one.output} out: {usd(cached, 0)}, with every first "
        f"turn a hit {usd(hit, 0)} ({percent(saved(paid, hit))})"
        for one, p, (cached, hit) in zip(fits, prefixes, ends, strict=True)
    )
    return Claim(
        "Support chatbot, 50,000 conversations of 4 turns: $3,600 -> $420 (88%)",
        "002",
        " to ".join(percent(saved(paid, end[1])) for end in (ends[0], ends[-1])),
        "holds if",
        f"{usd(paid)} / {turns:,} turns = {usd(turn, 3)} a turn, lengths not stated. 70% Haiku "
        f"alone: {usd(routed)} ({percent(saved(paid, routed))}). With cached prompts too: {told}. "
        f"Of the first, $420 would need {percent(hits)} hits.",
        "prompts are long (5,000 tokens, 4,500 of them cached), answers short (200), and every "
        "first turn is a hit",
    )


def _documents(books: Books) -> Claim:
    month, each = 10_000 * 30, Tokens(5_000)
    paid = month * cost(books.seeds["middle"], each)
    haiku = month * cost(books.seeds_batch["low"], each)
    sonnet = month * cost(books.seeds_batch["middle"], each)
    both = haiku + sonnet
    split = (sonnet - 900) / (sonnet - haiku)
    return Claim(
        "10,000 documents a day of 5,000 tokens: $4,500 -> $900 (80%)",
        "002",
        f"{usd(paid)} -> {usd(both)} ({percent(saved(paid, both))})",
        "does not hold",
        f"{month:,} x 5,000 x {usd(books.seeds['middle'].input)}/M = {usd(paid)} with no output at "
        f"all. In batches: Haiku reads all for {usd(haiku)}, Sonnet for {usd(sonnet)}, both as "
        f"worded {usd(both)}. $900 needs {percent(split)} read by Haiku alone.",
    )


def _review(books: Books) -> Claim:
    opus, sonnet = books.seeds["high"], books.seeds["middle"]
    number, paid = 2_000, Decimal(5_400)
    given = number * cost(opus, Tokens(3_000))
    each = paid / number
    output = (each - cost(opus, Tokens(3_000))) * MILLION / opus.output
    input_ = each * MILLION / opus.input
    all_sonnet = paid * sonnet.input / opus.input
    return Claim(
        "Code review, 2,000 PRs of 3,000 tokens: $5,400 -> $810 (85%)",
        "002",
        f"{usd(all_sonnet)} with all of it moved to Sonnet ({percent(saved(paid, all_sonnet))})",
        "does not hold",
        f"2,000 x 3,000 x {usd(opus.input)}/M = {usd(given)}. {usd(paid)} is {usd(each)} a PR: "
        f'{num(output, 0)} tokens of output, or {num(input_, 0)} of input. "Sonnet for most" '
        "cannot save more than Sonnet for all, but for what a cached prompt saves, and no prompt "
        "is stated.",
    )


def _audit(books: Books) -> Claim:
    paid, then = Decimal(4_200), Decimal(1_540)
    saving = saved(paid, then)
    moved = share_moved(saving, books.seeds["high"].input, books.seeds["middle"].input)
    return Claim(
        "A B2B audit: $4,200 -> $1,540 (63%); 70% of it waste",
        "003",
        f"{percent(saving)} of $4,200; waste {percent(Decimal(2_900) / paid)}",
        "holds if",
        f"1 - 1,540 / 4,200 = {percent(saving)}; 2,900 / 4,200 = {percent(Decimal(2_900) / paid)}. "
        "No volumes are stated, so nothing can be reckoned again. Opus to Sonnet saves "
        f"{percent(saved(books.seeds['high'].input, books.seeds['middle'].input))}: "
        f"{percent(saving)} needs {percent(moved)} of the spend moved, and nothing else.",
        f"{percent(moved)} of the spend could move from Opus to Sonnet",
    )


def mix_saves(rates: Books, shares: tuple[int, int, int], *, today: bool = False) -> Decimal:
    """The saving of a mix against all-Opus, every request of one length."""
    found = rates.today if today else rates.seeds
    given = {
        tier: Decimal(share) / 100
        for tier, share in zip(("low", "middle", "high"), shares, strict=True)
    }
    one = Tokens(1_000, 1_000)  # input and output have one ratio, so the length does not matter
    return saved(cost(found["high"], one), mixed(found, given, one))


def implied_haiku() -> Decimal:
    """What a Haiku request costs against one of Opus, by the first two bills; Sonnet drops out.

    haiku x 0.70 + sonnet x 0.20 + 0.10 = 2,460 / 15,000, and so the second.
    """
    first = Decimal(2_460) / 15_000 - Decimal("0.10")
    second = Decimal(4_520) / 15_000 - Decimal("0.20")
    return (first * 30 - second * 20) / (70 * 30 - 50 * 20) * 100


def _mix(books: Books, simple: int, medium: int, hard: int, claimed: int) -> Claim:
    shares = (simple, medium, hard)
    ours = mix_saves(books, shares)
    low, middle, high = (books.seeds[tier].input for tier in ("low", "middle", "high"))
    today = mix_saves(books, shares, today=True)
    return Claim(
        f"Routing {simple}/{medium}/{hard} against all Opus saves {claimed}%",
        "002",
        percent(ours, 1),
        "does not hold",
        f"1 - (0.{simple} x {num(low)} + 0.{medium} x {num(middle)} + 0.{hard} x {num(high)}) / "
        f"{num(high)} = {percent(ours, 1)} for requests of one length; asking Haiku first is left "
        f"out. By the bills it gives for 70/20/10 and 50/30/20 Haiku would cost "
        f"{percent(implied_haiku(), 1)} of Opus, so no lengths make all of them. At today's prices "
        f"{percent(today, 1)}.",
    )


def _interactions() -> Iterator[Claim]:
    counts = (
        ("a conversation of the chatbot", 420, 50_000),
        ("a document", 900, 300_000),
        ("a PR", 810, 2_000),
    )
    each = [(what, Decimal(paid) / number) for what, paid, number in counts]
    yield Claim(
        "Under $0.01 an interaction",
        "002",
        "; ".join(f"{usd(amount, 4)} {what}" for what, amount in each),
        "holds if",
        "; ".join(f"{usd(Decimal(p))} / {n:,} = {usd(Decimal(p) / n, 4)}" for _, p, n in counts)
        + ": by its own claimed bills.",
        "the interaction is one of " + " or ".join(w for w, a in each if a < Decimal("0.01")),
    )
