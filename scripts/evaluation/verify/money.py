"""Money and time to first byte of verification, at stated lengths and speeds.

Lengths are those of a short answer of a support desk; speeds are assumptions, not measurements.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from cacheserver.core.usage import Usage
from cacheserver.pricing.prices import Pricer
from scripts.evaluation.verify.rows import Row

VERIFIER = "claude-haiku-5-5"
# Model asked, and seconds to the first byte of its answer: assumed.
ANSWERING = {"claude-haiku-5-5": 0.6, "claude-sonnet-5-5": 1.2, "claude-opus-5-5": 2.0}
CALL_S = 0.7  # a whole verification: some tokens of the fastest model
HIT_S = 0.01
TASK, QUESTION, ANSWER = 300, 25, 250  # tokens of the system prompt, a question, an answer
_FRAME = 330  # the instructions of `cacheserver.verification.prompt` and the frame of its JSON
_STORED = 30  # frame of a stored answer
_WORD = 4  # output tokens of a verdict


@dataclass(frozen=True, slots=True)
class Money:
    """One row at one model's prices."""

    model: str
    without_cache: float  # US dollars per 1,000 requests
    paid: float  # answers, verifications and audits
    verification: float  # of these
    first_byte_s: float  # mean


def money(row: Row, *, background: bool = False) -> Iterator[Money]:
    """Yield the figures of a row at each model's prices."""
    call = call_price(row.candidates)
    misses = 1 - row.exact - row.hits
    for model, first_byte_s in ANSWERING.items():
        answer = answer_price(model)
        verification = row.calls * call
        waits = 0.0 if background else row.calls * CALL_S
        yield Money(
            model=model,
            without_cache=1_000 * answer,
            paid=1_000 * ((misses + row.audits) * answer + verification),
            verification=1_000 * verification,
            first_byte_s=misses * first_byte_s + (1 - misses) * HIT_S + waits,
        )


def line(one: Money) -> str:
    """Return the figures of one model: dollars per 1,000 requests, mean seconds to a first byte."""
    return (
        f"{one.model}: ${one.paid:.3f} of ${one.without_cache:.3f}, verification "
        f"${one.verification:.3f}, first byte {one.first_byte_s:.2f} s"
    )


def break_even_lines() -> Iterator[str]:
    """Yield the break-even table: by tokens of task and answer, for each model."""
    yield f"{'task':>7}{'answer':>8}" + "".join(f"{model:>20}" for model in ANSWERING)
    for task in (0, 300, 2_000, 8_000):
        for answer in (50, 250, 1_000):
            chances = (break_even(model, task=task, answer=answer) for model in ANSWERING)
            shares = (f"{100 * c:.1f}%" if c < 1 else "never" for c in chances)
            yield f"{task:>7}{answer:>8}" + "".join(f"{share:>20}" for share in shares)


def call_price(candidates: float, *, task: int = TASK, answer: int = ANSWER) -> float:
    """Return the price of a verification in US dollars."""
    stored = candidates * (QUESTION + answer + _STORED)
    return _price(VERIFIER, round(_FRAME + task + QUESTION + stored), _WORD)


def answer_price(model: str, *, task: int = TASK, answer: int = ANSWER) -> float:
    """Return the price of an answer in US dollars."""
    return _price(model, task + QUESTION, answer)


def break_even(model: str, *, task: int, answer: int, candidates: float = 1.0) -> float:
    """Return the least chance of a yes at which a verification pays; above 1: never."""
    call = call_price(candidates, task=task, answer=answer)
    return call / answer_price(model, task=task, answer=answer)


def _price(model: str, input_tokens: int, output_tokens: int) -> float:
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    cost = Pricer().cost(model, usage, time.time())
    assert cost is not None, model
    return cost / 1e9
