"""The simulated Claude as a process: `python -m scripts.chaos_run.upstream --charges FILE`.

Each answer says for whom it was made, which question it answers and when it was asked. Each charge
is a line of FILE before the first byte leaves: killing it forgets nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from cacheserver.simulated import Directives, Simulated, SimulatedSettings, serve_simulated
from cacheserver.simulated.books import Line
from cacheserver.simulated.directives import last_text
from scripts.chaos_run.history import NOTHING, UNKNOWN, AnswerText


class Written(list[Line]):
    """An invoice that is on file as soon as a line is in it."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def append(self, line: Line) -> None:
        super().append(line)
        charge = [line.at, line.message_id, line.nanodollars, line.tier == "batch", line.model]
        self._file.write(json.dumps(charge) + "\n")
        self._file.flush()


def say(body: Mapping[str, Any]) -> Directives:
    """Answer that names its caller, so that a wrong delivery shows."""
    whose = (body.get("metadata") or {}).get("user_id") or UNKNOWN
    question = last_text(body)
    if question.startswith(NOTHING):
        # Sometimes nothing at all, sometimes blanks that a model does write.
        return Directives(text=("", " \n", "\u200b")[len(question) % 3])
    return Directives(text=str(AnswerText(whose, question, secrets.token_hex(6), time.time())))


async def serve(port: int, charges: TextIO) -> None:
    # The waits let callers meet while a call is under way, and leave it.
    claude = Simulated(
        SimulatedSettings(direct=say, batch_s=1.0, ttft_s=0.05, tokens_per_s=400, kept_requests=10)
    )
    # The books have no other way to be read live.
    claude._claude.books.lines = Written(charges)
    async with serve_simulated(claude, port=port) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--charges", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    with args.charges.open("a") as charges:
        asyncio.run(serve(args.port, charges))
