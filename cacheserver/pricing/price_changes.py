"""Price changes that an admin makes while servers run. Pure.

    {"claude-haiku-5-5": [{"since": 1790000000,
                           "input": "0.08",                          # short prompts
                           "long_prompts": {"100000": {"input": "0.16"}},
                           "fast": {"input": "0.5", ...}},
                          {"since": 1790007200}]}                    # back to the default

Rule: a change names prices of one step of a model, and leaves the others as the package or the
price file has them. It holds from the hour in which it was made until the next one: earlier ones
are kept for two days, so a call is priced as of its time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
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
_MOST_STEPS: Final = 16  # of a model, by prompt length; published prices have two
_KEPT_S: Final = 48 * _HOUR_S  # a batch is priced up to 24 hours after it was sent
_MOST_STEP: Final = 100_000_000  # tokens of a prompt

Own = dict[str, list[dict[str, Any]]]  # as it is stored: changes of each model, oldest first


@dataclass(frozen=True, slots=True)
class _Change:
    """Prices of one model: by speed and step, those that are changed. None: the default again."""

    since: float
    steps: Mapping[str, Mapping[int, Mapping[str, Decimal]]]


@dataclass(frozen=True, slots=True)
class PriceChanges:
    """Changes by model, oldest first. `digest` differs whenever a price does."""

    models: Mapping[str, Sequence[_Change]] = field(default_factory=dict)
    digest: str = ""

    def over(
        self, names: tuple[str, ...], base: Ladder, at: float, speed: str, batch: bool
    ) -> Ladder:
        """Return `base` with the changes of the first of `names` that has some.

        A change of a step that `base` lacks begins with the prices of the step below it.
        """
        changed = (self._steps(name, at) for name in names)
        steps = next((found for found in changed if found), {}).get(speed, {})
        if not steps:
            return base
        own, found = dict(base), list[tuple[int, Rates]]()
        for start in sorted({*own, *steps}):
            rates = own.get(start) or (found[-1][1] if found else _NO_RATES)
            given = {
                kind: rate * _BATCH if batch and kind != "web_search" else rate
                for kind, rate in steps.get(start, {}).items()
            }
            found.append((start, replace(rates, **given)))
        return tuple(found)

    def changes(self, model: str, at: float) -> bool:
        """Return whether a model's prices are an admin's at that time."""
        return bool(self._steps(model, at))

    def _steps(self, model: str, at: float) -> Mapping[str, Mapping[int, Mapping[str, Decimal]]]:
        reached = [one.steps for one in self.models.get(model, ()) if one.since <= at]
        return reached[-1] if reached else {}


def read(own: Mapping[str, Any]) -> PriceChanges:
    """Read what is stored. Raises `BadRequest` naming the field that is wrong."""
    models = {
        model: [_change(model, given) for given in _versions(stored)]
        for model, stored in own.items()
    }
    now = sorted(latest(own).items())
    digest = hashlib.sha256(repr(now).encode()).hexdigest()[:8] if now else ""
    return PriceChanges(models, digest)


def readable(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models whose changes can be read here."""
    found = {}
    for model, stored in own.items():
        try:
            read({model: stored})
        except (BadRequest, KeyError, TypeError, ValueError, AttributeError):
            continue
        found[model] = stored
    return found


def latest(own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the last change of each model, without those back at the default.

    `own` is readable.
    """
    last = {model: _versions(stored)[-1] for model, stored in own.items()}
    return {model: one for model, one in last.items() if one.keys() > {"since"}}


def merged(own: Mapping[str, Any], given: Mapping[str, Any], now: float) -> Own:
    """Return what is stored after a change; null takes a model or a price back to the default.

    Raises `BadRequest` naming the field that is wrong.
    """
    if len(given) > 2 * _MOST_MODELS:  # as many taken back as made
        raise BadRequest("prices", f"may change at most {_MOST_MODELS} models")
    found, known = dict(own), readable(own)
    current = latest(known)
    since = int(now // _HOUR_S) * _HOUR_S
    for model, change in given.items():
        if not 0 < len(model) <= 128 or not model.isprintable() or not model.isascii():
            raise BadRequest("prices", "must name models, of 1 to 128 ASCII characters")
        before = {name: one for name, one in current.get(model, {}).items() if name != "since"}
        after = {} if change is None else _merged_rates(model, before, change, deep=True)
        kept = _versions(known[model]) if model in known else []
        if after != before:
            # Clocks of servers differ: a change is never older than the one before it.
            at = max([since, *(one["since"] for one in kept[-1:])])
            kept = [*(one for one in kept if one["since"] < at), {"since": at, **after}]
        found.pop(model, None)
        if needed := _needed(kept, now):
            found[model] = needed
    if len(latest(readable(found))) > _MOST_MODELS:
        raise BadRequest("prices", f"may change at most {_MOST_MODELS} models")
    return found


def complete(own: Mapping[str, Mapping[str, Any]], ladder: Any) -> None:
    """Raise `BadRequest` where a model without a price would have some prices only.

    `own` are the changes that `latest` returns; `ladder(model, speed)` returns a model's prices
    with them.
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


def _versions(stored: Any) -> list[dict[str, Any]]:
    """Return the changes of a model, one or more. Raises `ValueError` if there are none.

    A single object is what was stored before earlier changes were kept.
    """
    if not stored:
        raise ValueError("no change")
    return [stored] if isinstance(stored, dict) else list(stored)


def _needed(versions: Sequence[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    """Return the changes that a call of the last two days can have been made under."""
    ends = [*(one["since"] for one in versions[1:]), math.inf]
    found = [one for one, end in zip(versions, ends, strict=False) if end > now - _KEPT_S]
    while found and found[0].keys() == {"since"}:
        found = found[1:]  # the default holds before the first change anyway
    return found


def _change(model: str, given: Mapping[str, Any]) -> _Change:
    steps = {
        "standard": _steps(model, given, long=True),
        "fast": _steps(f"{model}.fast", given.get("fast") or {}, long=False),
    }
    return _Change(float(given["since"]), {speed: one for speed, one in steps.items() if one})


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
    if len(given) > 2 * _MOST_STEPS:  # as many taken back as made
        raise BadRequest(where, f"may have at most {_MOST_STEPS} steps")
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
    if len(found) > _MOST_STEPS:
        raise BadRequest(where, f"may have at most {_MOST_STEPS} steps")
    return found


def _steps(where: str, given: Mapping[str, Any], *, long: bool) -> dict[int, Mapping[str, Decimal]]:
    found = {0: _rates(where, given)}
    if long:
        long_prompts = given.get("long_prompts", {})
        if len(long_prompts) > _MOST_STEPS:
            raise BadRequest(f"{where}.long_prompts", f"may have at most {_MOST_STEPS} steps")
        for over, rates in long_prompts.items():
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
