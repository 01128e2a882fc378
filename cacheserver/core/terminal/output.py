"""Tables, amounts and times for a terminal.

Rule: text that came from elsewhere is escaped before it is printed. A stored question must not be
able to move the cursor of who reads it, or hide a part of itself.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from cacheserver.core import invisible_characters
from cacheserver.core.command_line import OK, print_json, say

_GAP: Final = "  "
_CENTS: Final = 2  # decimal places that are always shown
_NARROWEST: Final = 20  # of a last column; a narrower terminal wraps it


def one_line(value: object) -> str:
    """Return a value as one line of text that a terminal shows as it is."""
    return "" if value is None else invisible_characters.line(str(value))


def paragraphs(text: str) -> str:
    """Return a text with its line ends that a terminal shows as it is."""
    return invisible_characters.shown(text.replace("\r\n", "\n"))


def dollars(usd: str | Decimal | None) -> str:
    """Return an exact amount with at least two decimal places; `-` if it is not known."""
    if usd is None:
        return "-"
    amount = Decimal(usd)
    whole, _, places = f"{abs(amount):f}".partition(".")
    places = places.rstrip("0").ljust(_CENTS, "0")
    return f"{'-' if amount < 0 else ''}${int(whole):,}.{places}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def number(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def moment(at: float | None) -> str:
    """Return a time as UTC, to the second."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a table. On a terminal the last column is cut to its width."""
    cells = [list(head), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    if sys.stdout.isatty():
        left = sum(widths[:-1]) + len(_GAP) * (len(head) - 1)
        widths[-1] = max(_NARROWEST, shutil.get_terminal_size().columns - left)
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        last = cut(row[-1], widths[-1]) if sys.stdout.isatty() else row[-1]
        lines.append(_GAP.join([*padded, last]).rstrip())
    return lines


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("\n".join(table(head, rows)))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, a line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name.ljust(width)}{_GAP}{one_line(value)}")


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested values by their paths, such as `bar.target`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def print_list(
    found: Sequence[Mapping[str, Any]],
    next_cursor: str | None,
    *,
    as_json: bool,
    head: Sequence[str],
    row: Callable[[Mapping[str, Any]], Sequence[object]],
    empty: str,
) -> int:
    """Print a list as a table, or as the API gives it. Return the exit status."""
    if as_json:
        print_json({"items": found, "next": next_cursor})
        return OK
    if not found:
        say(empty)
        return OK
    print_table(head, [row(one) for one in found])
    if next_cursor is not None:
        say("There are more: --limit N, or --all.")
    return OK
