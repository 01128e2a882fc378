"""The operator's own prices: rows of a TOML file that win over the bundled ones.

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
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from cacheserver.errors import SettingsError

WEB_SEARCH = Decimal(10)  # USD per 1,000: the same for every model that has it, fact 1.3

_RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_KEYS = frozenset({"model", "from", "speed", "over_prompt_tokens", "web_search", *_RATES})


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens of a kind, and per 1,000 web searches. None: never published."""

    input: Decimal | None
    output: Decimal | None
    cache_write_5m: Decimal | None
    cache_write_1h: Decimal | None
    cache_read: Decimal | None
    web_search: Decimal | None


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What one model costs from one day on."""

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
        """True where a row for the model holds on that UTC day: then no bundled price is used."""
        return any(row.model == model and row.start <= day for row in self.rows)

    def rates(self, model: str, day: date, *, speed: str, prompt_tokens: int) -> Rates | None:
        """The newest row that holds, of those the one for the longest prompts; None without one."""
        holds = [
            row
            for row in self.rows
            if (row.model, row.speed) == (model, speed)
            and row.start <= day
            and (prompt_tokens > row.over_prompt_tokens or row.over_prompt_tokens == 0)
        ]
        if not holds:
            return None
        return max(holds, key=lambda row: (row.start, row.over_prompt_tokens)).rates


def load_overrides(text: str) -> PriceTable:
    """The table in a TOML text. Raises `SettingsError` naming the line or the key at fault."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the price table is not TOML: {error}") from error
    if unknown := document.keys() - {"price"}:
        raise SettingsError(
            f"the price table has an unknown key `{min(unknown)}`; rows are [[price]]"
        )
    listed = document.get("price", [])
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise SettingsError("`price` must be a list of tables: write [[price]], not [price]")
    rows = tuple(_row(row, f"price[{index}]") for index, row in enumerate(listed))
    seen: dict[tuple[object, ...], int] = {}
    for index, row in enumerate(rows):
        key = (row.model, row.start, row.speed, row.over_prompt_tokens)
        if key in seen:
            raise SettingsError(
                f"`price[{index}]` prices the same as `price[{seen[key]}]`; remove one"
            )
        seen[key] = index
    return PriceTable(rows, hashlib.sha256(repr(rows).encode()).hexdigest()[:8])


def _row(row: Mapping[str, Any], at: str) -> PriceRow:
    if unknown := row.keys() - _KEYS:
        raise SettingsError(
            f"`{at}.{min(unknown)}` is not a key of a price; see the documented ones"
        )
    model = row.get("model")
    if not isinstance(model, str) or not model:
        raise SettingsError(f"`{at}.model` must name a model")
    start = row.get("from", date.min)
    if not isinstance(start, date) or isinstance(start, datetime):
        raise SettingsError(f"`{at}.from` must be a day such as 2027-01-15, unquoted")
    speed = row.get("speed", "standard")
    if speed not in ("standard", "fast"):
        raise SettingsError(f'`{at}.speed` must be "standard" or "fast"')
    over = row.get("over_prompt_tokens", 0)
    if not isinstance(over, int) or isinstance(over, bool) or over < 0:
        raise SettingsError(f"`{at}.over_prompt_tokens` must be a whole number, 0 or more")
    rates = {kind: _rate(row.get(kind), f"{at}.{kind}") for kind in _RATES}
    web_search = _rate(row.get("web_search", WEB_SEARCH), f"{at}.web_search")
    return PriceRow(model, Rates(**rates, web_search=web_search), start, speed, over)


def _rate(value: object, at: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise SettingsError(f"`{at}` must be a price in USD, a number")
    rate = Decimal(value)
    if not rate.is_finite() or rate < 0:
        raise SettingsError(f"`{at}` must be 0 or more")
    return rate
