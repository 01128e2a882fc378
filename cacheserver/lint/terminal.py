"""`cacheserver lint FILE...`: the linter for a terminal, without a server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cacheserver.core import invisible_characters, json_text
from cacheserver.core.command_line import NO, OK, WRONG
from cacheserver.core.errors import BadRequest
from cacheserver.lint.report import report
from cacheserver.pricing.prices import Pricer

_OBJECT: Final = re.compile(r'\s*\{\s*"')  # the beginning of a JSON object, not of `{{name}}`


def run(
    files: Sequence[Path],
    *,
    pricer: Pricer,
    model: str,
    requests_a_day: int,
    as_json: bool,
    say: Callable[[str], None],
) -> int:
    """Print the findings of each file. Return the exit status: `NO` with findings, `WRONG` for what
    cannot be read.

    A file that is no JSON is a system prompt, unless it was meant to be JSON.
    """
    now, status = time.time(), OK
    for file in files:
        try:
            body = _body(file, file.read_text(), model)
            found = report(body, requests_a_day, lambda m, u: pricer.cost(m, u, now), model)
        except (OSError, UnicodeDecodeError, BadRequest) as error:
            say(f"{file}: {error}")
            status = WRONG
            continue
        if found["findings"]:
            status = max(status, NO)
        if as_json:
            print(json_text.dumps({"file": str(file), **found}).decode())
        else:
            _show(file, found)
    return status


def _body(file: Path, text: str, model: str) -> dict[str, Any]:
    """Return the Messages body of a file. Raises `BadRequest` for JSON that is broken."""
    meant = file.suffix.lower() == ".json" or _OBJECT.match(text) is not None
    try:
        body = json_text.loads(text)
    except ValueError as error:
        if meant:
            raise BadRequest("body", f"is broken JSON: {error}") from error
        body = None
    if isinstance(body, dict):
        return {"model": model, **body}
    if meant:
        raise BadRequest("body", "must be a JSON object")
    question = {"role": "user", "content": "."}
    return {"model": model, "max_tokens": 1, "system": text, "messages": [question]}


def _show(file: Path, found: dict[str, Any]) -> None:
    print(f"{file}: about {found['tokens']:,} tokens, {found['model']}")
    for one in found["findings"]:
        tokens = "" if one["before"] is None else f" {one['before']:,} -> {one['after']:,} tokens"
        money = one["saves_usd_a_day"]
        saves = "" if money is None else f", ${float(money):.4f} a day"
        print(f"  {one['where']}: {one['code']}:{tokens}{saves}\n    {one['message']}")
        if one["proposed"] is not None and one["code"] != "pretty-json":
            print(f"    shorter: {invisible_characters.shown(one['proposed'][:300])}")
    if not found["findings"]:
        print("  nothing found")
