"""Price changes that an admin makes while servers run. Pure.

    {"claude-haiku-5-5": {"input": "0.08",                          # short prompts
                          "long_prompts": {"100000": {"input": "0.16"}},
                          "fast": {"input": "0.5", ...},
                          "since": 1790000000}}

Rule: a change names prices of one step of a model, and leaves the others as the package or the
price file has them. It holds from the hour in which it was made, so an earlier call is never
priced by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.pricing.price_table import KINDS, WEB_SEARCH, Ladder, Rates, check_rate

_NO_RATES: Final = Rates(None, None, None, None, None, WEB_SEARCH)
_PARTS: Final = ("fast", "long_prompts")
_HOUR_S: Final = 3_600
_BATCH: Final = Decimal("0.5")  # of the standard price, as everywhere
_MOST: Final = Decimal(1_000_000)  # USD per million tokens: a dollar a token
_LONGEST: Final = 12  # digits after the point; a nanodollar a token has three
_MOST_MODELS: Final = 200
_MOST_STEP: Final = 100_000_000  # tokens of a prompt

Own = dict[str, dict[str, Any]]  # as it is stored


@dataclass(frozen=True, slots=True)
class _Change:
    """Prices of one model: by speed and step, those that are changed."""

    since: float
    steps: Mapping[str, Mapping[int, Mapping[str, Decimal]]]


@dataclass(frozen=True, slots=True)
class PriceChanges:
    """Changes by model. `digest` differs whenever a price does."""

    models: Mapping[str, _Change] = field(default_factory=dict)
    digest: str = ""

    def over(
        self, names: tuple[str, ...], base: Ladder, at: float, speed: str, batch: bool
    ) -> Ladder:
        """Return `base` with the changes of the first of `names` that has some.

        A change of a step that `base` lacks begins with the prices reached there.
        """
        change = next((self.models[name] for name in names if name in self.models), None)
        steps = {} if change is None else change.steps.get(speed, {})
        if change is None or not steps or at < change.since:
            return base
        found = []
        for start in sorted({start for start, _ in base} | set(steps)):
            rates = _reached(base, start)
            given = {
                kind: rate * _BATCH if batch and kind != "web_search" else rate
                for kind, rate in steps.get(start, {}).items()
            }
            found.append((start, replace(rates, **given)))
        return tuple(found)

    def changes(self, model: str, at: float) -> bool:
        """Return whether a model's prices are an admin's at that time."""
        return model in self.models and at >= self.models[model].since


def read(own: Mapping[str, Any]) -> PriceChanges:
    """Read what is stored. Raises `BadRequest` naming the field that is wrong."""
    models = {
        model: _Change(
            float(given["since"]),
            {
                "standard": _steps(f"{model}", given, long=True),
                "fast": _steps(f"{model}.fast", given.get("fast") or {}, long=False),
            },
        )
        for model, given in own.items()
    }
    digest = hashlib.sha256(repr(sorted(own.items())).encode()).hexdigest()[:8] if own else ""
    return PriceChanges(models, digest)


def merged(own: Mapping[str, Any], given: Mapping[str, Any], now: float) -> Own:
    """Return what is stored after a change; null takes a model or a price back to the default.

    Raises `BadRequest` naming the field that is wrong.
    """
    found: Own = {model: dict(one) for model, one in own.items()}
    for model, change in given.items():
        if not 0 < len(model) <= 128 or not model.isprintable() or not model.isascii():
            raise BadRequest("prices", "must name models, of 1 to 128 ASCII characters")
        if change is None:
            found.pop(model, None)
            continue
        before = {name: one for name, one in found.get(model, {}).items() if name != "since"}
        after = _merged_rates(model, before, change, deep=True)
        if after == before:
            continue
        found.pop(model, None)
        if after:
            found[model] = after | {"since": int(now // _HOUR_S) * _HOUR_S}
    if len(found) > _MOST_MODELS:
        raise BadRequest("prices", f"may change at most {_MOST_MODELS} models")
    return found


def complete(own: Own, ladder: Any) -> None:
    """Raise `BadRequest` where a model without a price would have some prices only.

    `ladder(model, speed)` returns its prices with the changes.
    """
    for model, one in own.items():
        for speed in ("standard", *(("fast",) if "fast" in one else ())):
            where = model if speed == "standard" else f"{model}.fast"
            for _, rates in ladder(model, speed):
                missing = [kind for kind in KINDS if asdict(rates)[kind] is None]
                if missing and len(missing) < len(KINDS):
                    raise BadRequest(
                        f"{where}.{missing[0]}", "must be given: this model has no price of its own"
                    )


def _merged_rates(
    where: str, own: Mapping[str, Any], given: object, *, deep: bool
) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise BadRequest(where[:128], "must be an object of prices, or null")
    found = dict(own)
    for name, value in given.items():
        path = f"{where}.{name}"[:128]
        part: object
        if deep and name == "fast":
            part = (
                None if value is None else _merged_rates(path, own.get(name, {}), value, deep=False)
            )
        elif deep and name == "long_prompts":
            part = None if value is None else _merged_steps(path, own.get(name, {}), value)
        elif name in (*KINDS, "web_search"):
            part = None if value is None else f"{_rate(path, value).normalize():f}"
        else:
            fields = (*KINDS, "web_search", *(_PARTS if deep else ()))
            raise Unknown(path, "field", str(name)[:64], fields)
        found.pop(name, None)
        if part:
            found[name] = part
    return found


def _merged_steps(where: str, own: Mapping[str, Any], given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise BadRequest(where, "must be an object: prompt tokens, and the prices above them")
    found = dict(own)
    for over, value in given.items():
        path = f"{where}.{over}"[:128]
        if (
            not (over.isascii() and over.isdigit() and len(over) < 10)
            or not 0 < int(over) <= _MOST_STEP
        ):
            raise BadRequest(path, "must be a whole number of prompt tokens, above 0")
        step = str(int(over))
        found.pop(step, None)
        if value is not None and (
            part := _merged_rates(path, own.get(step, {}), value, deep=False)
        ):
            found[step] = part
    return found


def _steps(where: str, given: Mapping[str, Any], *, long: bool) -> dict[int, Mapping[str, Decimal]]:
    found = {0: _rates(where, given)}
    if long:
        for over, rates in given.get("long_prompts", {}).items():
            found[int(over)] = _rates(f"{where}.long_prompts.{over}", rates)
    return {start: rates for start, rates in found.items() if rates}


def _rates(where: str, given: Mapping[str, Any]) -> dict[str, Decimal]:
    return {
        kind: _rate(f"{where}.{kind}", given[kind])
        for kind in (*KINDS, "web_search")
        if given.get(kind) is not None
    }


def _rate(where: str, value: object) -> Decimal:
    """Read a price, as the price file does, or as a text. Raises `BadRequest`."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    elif isinstance(value, str) and len(value) <= 32:
        try:
            value = Decimal(value)
        except InvalidOperation:
            raise BadRequest(where, "must be a price in USD, a number") from None
    try:
        rate = check_rate(value)
    except ValueError as wrong:
        raise BadRequest(where, str(wrong)) from None
    exponent = rate.normalize().as_tuple().exponent
    if rate > _MOST or (isinstance(exponent, int) and -exponent > _LONGEST):
        raise BadRequest(where, f"must be at most {_MOST:,}, with at most {_LONGEST} decimals")
    return rate


def _reached(base: Ladder, start: int) -> Rates:
    """Return the prices of the step that holds above `start` tokens."""
    found = _NO_RATES
    for begins, rates in base:
        if begins <= start:
            found = rates
    return found
