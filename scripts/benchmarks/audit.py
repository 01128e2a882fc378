"""Speed of `cacheserver audit` on a log of which half the requests are exact repeats."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_START = 1_792_600_000.0
_SPAN_S = 28 * 86_400.0
_WISHES = ("reset", "change", "find", "cancel", "confirm", "transfer", "download", "share", "block")
_THINGS = ("password", "order", "invoice", "card", "address", "refund", "account", "delivery")
_WAYS = (
    "How do I {wish} my {thing} {number}?",
    "What must I do to {wish} the {thing} with number {number}?",
    "Please help me {wish} {thing} {number} before Friday",
)


def measure(lines: int) -> list[dict[str, Any]]:
    """Rows for the table; the targets are for a million lines on two cores."""
    with tempfile.TemporaryDirectory(prefix="cs-audit-") as folder:
        log = Path(folder) / "log.jsonl"
        with log.open("w") as file:
            file.writelines(json.dumps(one) + "\n" for one in _log(lines))
        # The default, 100,000, is a tenth of a million lines: of a shorter log the same part.
        texts = str(max(1, lines // 10))
        command = [sys.executable, "-m", "cacheserver.cli", "audit", str(log), "--processes", "0"]
        command += ["--most-texts", texts]
        began, before = time.perf_counter(), _cpu()
        out = Path(folder) / "report.json"
        environment = {"CACHESERVER_MODEL_DIR": str(Path("var/model").resolve()), **os.environ}
        subprocess.run(
            [*command, "--json", str(out)], check=True, stdout=subprocess.DEVNULL, env=environment
        )
        took, cpu = time.perf_counter() - began, _cpu() - before
        told = json.loads(out.read_text())
    million_min = took / lines * 1e6 / 60
    largest_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    hits = told["requests_by_kind"]
    return [
        {"what": f"{lines} lines, a second", "value": lines / took, "unit": ""},
        {
            "what": "a million lines at that rate",
            "value": million_min,
            "unit": "min",
            "target": "<= 15",
            "met": million_min <= 15,
        },
        {"what": "CPU a line", "value": cpu / lines * 1e3, "unit": "ms"},
        {"what": "largest process", "value": largest_mb, "unit": "MB"},
        {
            "what": "not sought by similarity",
            "value": told["requests_by_reason"].get("not-sought", 0) / lines,
            "unit": "",
        },
        {"what": "answered by the exact tier", "value": hits.get("exact", 0) / lines, "unit": ""},
        {"what": "by the semantic tier", "value": hits.get("semantic", 0) / lines, "unit": ""},
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


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
