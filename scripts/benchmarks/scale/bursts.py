"""Calls to Claude for 500 questions that come at the same moment, equal or similar."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scripts.benchmarks.processes.server import body
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.scale.caller import Answer, Caller
from scripts.benchmarks.scale.group import Group

AT_ONCE = 500
_TIMES = 3
_ANSWER_S = 1.0  # Claude's
_MOST_EQUAL, _MOST_SIMILAR = 1, 5
_ASKED = (
    "How do I reset my password?",
    "Where can I find my last invoice?",
    "How do I cancel my subscription?",
    "Which devices does the application support?",
    "How do I change my delivery address?",
    "How long does a refund take?",
)
_GREETINGS = ("", "Please, ", "Hello! ")
_ENDS = ("?", "", "??", "!")


def measure(group: Group) -> list[dict[str, Any]]:
    """Ask a question 500 times at once, and one in many spellings; several times each."""
    group.serve_as_by_default()
    questions = iter(_ASKED)
    rows: list[dict[str, Any]] = []
    for name, most, similar in (
        ("equal", _MOST_EQUAL, False),
        ("similar", _MOST_SIMILAR, True),
    ):
        calls, kinds, took = [], Counter[str](), []
        for question in itertools.islice(questions, _TIMES):
            texts = spellings(question) if similar else [question]
            before, began = group.calls(), time.perf_counter()
            answers = asyncio.run(_ask_all(group, texts))
            took.append(time.perf_counter() - began)
            calls.append(group.calls() - before)
            if wrong := [one for one in answers if one.status != 200]:
                raise RuntimeError(f"{len(wrong)} of {AT_ONCE} failed: {wrong[0]}")
            kinds.update(f"{one.kind} ({one.reason})" for one in answers)
        what = f"{AT_ONCE} {name} questions at once on {len(group.servers)} servers"
        rows.append(at_most(f"{what}: calls to Claude, most of {_TIMES}", max(calls), most))
        rows.append(row("  calls in all", sum(calls)))
        rows += [row(f"  answers: {kind}", count) for kind, count in kinds.most_common()]
        rows.append(row(f"  all answered, Claude taking {_ANSWER_S:g} s", max(took), "s"))
    return rows


def spellings(question: str) -> list[str]:
    """Return 24 spellings of a question: case, punctuation and greetings differ."""
    return [
        text
        for greeting, end in itertools.product(_GREETINGS, _ENDS)
        for whole in [f"{greeting}{question[:-1]}{end}"]
        for text in (whole, whole.lower())
    ]


async def _ask_all(group: Group, texts: Sequence[str]) -> list[Answer]:
    """Open all connections, then send all requests at once."""
    group.slow_down(AT_ONCE, _ANSWER_S)
    callers = [Caller(group.servers[n % len(group.servers)]) for n in range(AT_ONCE)]
    for caller in callers:
        await caller.open()
    # Not `n % len(texts)`: as many servers would each see some of the spellings only.
    asked = [texts[n // len(group.servers) % len(texts)] for n in range(AT_ONCE)]
    try:
        return await asyncio.gather(
            *(caller.ask(body(text)) for caller, text in zip(callers, asked, strict=True))
        )
    finally:
        for caller in callers:
            caller.close()
