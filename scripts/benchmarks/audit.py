"""Speed of `cacheserver audit` on a log of which half the requests are exact repeats."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from scripts.benchmarks.processes.command_line import timed
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run

_START = 1_792_600_000.0
_SPAN_S = 28 * 86_400.0
_WISHES = ("reset", "change", "find", "cancel", "confirm", "transfer", "download", "share", "block")
_THINGS = ("password", "order", "invoice", "card", "address", "refund", "account", "delivery")
_WAYS = (
    "How do I {wish} my {thing} {number}?",
    "What must I do to {wish} the {thing} with number {number}?",
    "Please help me {wish} {thing} {number} before Friday",
)


def measure(run: Run) -> list[dict[str, Any]]:
    """Rows for the table; the target is for a million lines on two cores."""
    lines = run.lines
    log, out = run.folder / "log.jsonl", run.folder / "audit.json"
    with log.open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in _log(lines))
    # The default, 100,000, is a tenth of a million lines: of a shorter log the same part.
    options = [
        "--processes",
        "0",
        "--most-texts",
        str(max(1, lines // 10)),
        "--json-file",
        str(out),
    ]
    took = timed(["audit", str(log), *options])
    told = json.loads(out.read_text())
    hits = told["requests_by_kind"]
    not_sought = told["requests_by_reason"].get("not-sought", 0)
    return [
        at_most(
            f"audit, minutes for a million lines at the rate of {lines:,}",
            took.s / lines * 1e6 / 60,
            3,
        ),
        row(f"  lines a second, of {lines:,}", lines / took.s),
        row("  CPU a line", took.cpu_s / lines * 1e3, "ms"),
        row("  largest process", took.largest_mb, "MB"),
        row("  not sought by similarity", not_sought / lines),
        row("  answered by the exact tier", hits.get("exact", 0) / lines),
        row("  by the semantic tier", hits.get("semantic", 0) / lines),
    ]


def _log(lines: int) -> Iterator[dict[str, Any]]:
    """Requests of a dozen desks, every other one asked before within the hour."""
    drawn = random.Random(5)
    recent: list[dict[str, Any]] = []
    for number in range(lines):
        at = _START + number * _SPAN_S / lines
        if number % 2 and recent:
            yield {**recent[-1 - drawn.randrange(min(len(recent), 3))], "timestamp": at}
            continue
        text = drawn.choice(_WAYS).format(
            wish=drawn.choice(_WISHES), thing=drawn.choice(_THINGS), number=number
        )
        desk = drawn.randrange(12)
        one = _pair(text, f"You are the help desk {desk}. " + "Be kind and brief. " * 40, at)
        recent = [*recent[-3:], one]
        yield one


def _pair(text: str, system: str, at: float) -> dict[str, Any]:
    answer = f"Here is what to do: {text} Open the page, choose the entry, and follow its steps."
    return {
        "timestamp": at,
        "request": {
            "model": "claude-sonnet-5-5",
            "max_tokens": 400,
            "system": system,
            "messages": [{"role": "user", "content": text}],
        },
        "response": {
            "type": "message",
            "content": [{"type": "text", "text": answer}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": (len(system) + len(text)) // 3, "output_tokens": 60},
        },
    }
