"""Price table of the operator: rows of a TOML file that override the bundled prices.

[[price]]
model = "claude-haiku-6"
from = 2027-01-15             # optional: the first UTC day it holds
speed = "standard"            # or "fast"
over_prompt_tokens = 0        # holds for prompts longer than this; every token is at this price
input = 0.10                  # USD per million tokens, as the four below
output = 0.50
cache_write_5m = 0.125
cache_write_1h = 0.20
cache_read = 0.01
web_search = 10               # optional: USD per 1,000 searches
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from cacheserver.core.errors import SettingsError

WEB_SEARCH = Decimal(10)  # USD per 1,000, for every model that has it (Anthropic's pricing page)

KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_KEYS = frozenset({"model", "from", "speed", "over_prompt_tokens", "web_search", *KINDS})


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in USD per million tokens by kind, and per 1,000 web searches. None: unpublished."""

    input: Decimal | None
    output: Decimal | None
    cache_write_5m: Decimal | None
    cache_write_1h: Decimal | None
    cache_read: Decimal | None
    web_search: Decimal | None


# Rates by length of prompt: each holds for prompts longer than its start, the first for all.
Ladder: TypeAlias = tuple[tuple[int, Rates], ...]


@dataclass(frozen=True, slots=True)
class PriceRow:
    """Prices of one model from one day on."""

    model: str
    rates: Rates
    start: date = date.min  # the first UTC day it holds
    speed: str = "standard"
    over_prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The operator's rows. `digest` changes when any of them does."""

    rows: tuple[PriceRow, ...] = ()
    digest: str = ""

    def knows(self, model: str, day: date) -> bool:
        """Return whether a row for the model applies on that UTC day, instead of bundled prices."""
        return any(row.model == model and row.start <= day for row in self.rows)

    def steps(self, model: str, day: date, *, speed: str) -> tuple[tuple[int, Rates], ...]:
        """Return rates by prompt length, each with the tokens a prompt must exceed, shortest first.

        For each length the newest row that applies wins; of equals, the one for longer prompts.
        """
        holds = [
            row
            for row in self.rows
            if (row.model, row.speed) == (model, speed) and row.start <= day
        ]
        found = []
        for length in sorted({row.over_prompt_tokens for row in holds}):
            reached = [row for row in holds if row.over_prompt_tokens <= length]
            newest = max(reached, key=lambda row: (row.start, row.over_prompt_tokens))
            found.append((length, newest.rates))
        return tuple(found)


def written(rows: Iterable[PriceRow]) -> str:
    """Return rows as a TOML text that `load_overrides` reads. A row without all prices is left out.

    Of rows of the same model, day, speed and step the last counts.
    """
    last = {(row.model, row.start, row.speed, row.over_prompt_tokens): row for row in rows}
    found = []
    for row in last.values():
        rates = {kind: rate for kind, rate in asdict(row.rates).items() if rate is not None}
        if not rates.keys() >= set(KINDS):
            continue
        lines = [f"model = {json.dumps(row.model, ensure_ascii=False)}", f'speed = "{row.speed}"']
        if row.start != date.min:
            lines.append(f"from = {row.start.isoformat()}")
        lines.append(f"over_prompt_tokens = {row.over_prompt_tokens}")
        lines += [f"{kind} = {rate:f}" for kind, rate in rates.items()]
        found.append("\n".join(("[[price]]", *lines, "")))
    return "\n".join(found)


class _Wrong(Exception):
    """Error in a row. `key` None: the row as a whole."""

    def __init__(self, key: str | None, message: str) -> None:
        super().__init__(message)
        self.key = key


def load_overrides(text: str) -> PriceTable:
    """Parse a TOML text. Raises `SettingsError` naming the line and the key at fault."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the price table is not TOML: {error}") from error
    if unknown := document.keys() - {"price"}:
        first = min(unknown)
        raise SettingsError(
            f"line {_line_of(text, first)}: `{first}` is not known in a price table; "
            "rows are [[price]]"
        )
    listed = document.get("price", [])
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise SettingsError(
            f"line {_line_of(text, 'price')}: `price` must be a list of tables: write [[price]], "
            "not [price]"
        )
    rows: list[PriceRow] = []
    seen: dict[tuple[object, ...], int] = {}
    for index, given in enumerate(listed):
        try:
            row = _row(given)
            key = (row.model, row.start, row.speed, row.over_prompt_tokens)
            if key in seen:
                raise _Wrong(None, f"prices the same as `price[{seen[key]}]`; remove one")
        except _Wrong as wrong:
            at = f"price[{index}]" + (f".{wrong.key}" if wrong.key else "")
            line = _line(text, index, wrong.key)
            raise SettingsError(f"line {line}: `{at}` {wrong}") from None
        seen[key] = index
        rows.append(row)
    digest = hashlib.sha256(repr(tuple(rows)).encode()).hexdigest()[:8]
    return PriceTable(tuple(rows), digest)


def _line(text: str, index: int, key: str | None) -> int:
    """Return the line of a row's key, from 1, or of the row's header if the key is missing.

    TOML's own parser keeps no positions. For a row written in another way, such as an inline array,
    it is a guess.
    """
    heads = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.fullmatch(r"\s*\[\[\s*[\"']?price[\"']?\s*\]\]\s*(#.*)?", line)
    ]
    if index >= len(heads):
        return heads[-1] if heads else 1
    end = heads[index + 1] - 1 if index + 1 < len(heads) else len(text.splitlines())
    for number in range(heads[index], end + 1):
        line = text.splitlines()[number - 1]
        if key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return heads[index]


def _line_of(text: str, key: str) -> int:
    """Return the line of a top-level key or table, from 1."""
    name = rf"[\"']?{re.escape(key)}[\"']?"
    begins = re.compile(rf"\s*(?:\[{{1,2}}\s*)?{name}\s*[=.\]]")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if begins.match(line)), 1)


def _row(row: Mapping[str, Any]) -> PriceRow:
    if unknown := row.keys() - _KEYS:
        raise _Wrong(min(unknown), "is not a key of a price; see the documented ones")
    model = row.get("model")
    if not isinstance(model, str) or not model:
        raise _Wrong("model", "must name a model")
    start = row.get("from", date.min)
    if not isinstance(start, date) or isinstance(start, datetime):
        raise _Wrong("from", "must be a day such as 2027-01-15, unquoted")
    speed = row.get("speed", "standard")
    if speed not in ("standard", "fast"):
        raise _Wrong("speed", 'must be "standard" or "fast"')
    over = row.get("over_prompt_tokens", 0)
    if not isinstance(over, int) or isinstance(over, bool) or over < 0:
        raise _Wrong("over_prompt_tokens", "must be a whole number, 0 or more")
    rates = {kind: _rate(kind, row.get(kind)) for kind in KINDS}
    web_search = _rate("web_search", row.get("web_search", WEB_SEARCH))
    return PriceRow(model, Rates(**rates, web_search=web_search), start, speed, over)


def _rate(key: str, value: object) -> Decimal:
    try:
        return check_rate(value)
    except ValueError as wrong:
        raise _Wrong(key, str(wrong)) from None


def check_rate(value: object) -> Decimal:
    """Return a price. Raises `ValueError` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a price in USD, a number")
    rate = Decimal(value)
    if not rate.is_finite() or rate < 0:
        raise ValueError("must be 0 or more")
    return rate
