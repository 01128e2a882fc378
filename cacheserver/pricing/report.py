"""Prices and estimates as JSON, for the routes and the command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.money import Price, usd
from cacheserver.core.times import iso
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.pricing import estimate
from cacheserver.pricing.estimate import Workload
from cacheserver.pricing.price_table import Ladder, Rates
from cacheserver.pricing.prices import US_ONLY, Pricer

_KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


def prices_as_json(pricer: Pricer, now: float) -> dict[str, Any]:
    """Return the rates at `now` of every model with a price."""
    return {
        "version": pricer.version,
        "at": iso(now),
        "currency": "USD",
        "per_tokens": 1_000_000,
        "us_only_factor": f"{US_ONLY}",  # `inference_geo: "us"`, on every token
        "models": [_model(pricer, model, now) for model in pricer.models(now)],
    }


def origins_as_json(pricer: Pricer, own: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return `prices_as_json` with the origin of each model's prices.

    `own` are an admin's changes, by model.
    """
    shown = prices_as_json(pricer, now)
    for one in shown["models"]:
        model = one["model"]
        one["origin"] = pricer.origin(model, now)
        one["own"] = own.get(model)
        one["base"] = None if model not in own else _base(pricer, model, now)
    return shown


def _base(pricer: Pricer, model: str, now: float) -> dict[str, Any]:
    """Return a model's prices without an admin's changes."""
    fast = pricer.base(model, now, "fast")
    steps = pricer.base(model, now, "standard")
    return {
        "standard": _shown(steps[0][1]) if steps else None,
        "fast": _shown(fast[0][1]) if fast else None,
        "long_prompts": _long(steps),
    }


def _long(steps: Ladder) -> list[dict[str, Any]]:
    return [{"over_prompt_tokens": over, **(_shown(long) or {})} for over, long in steps if over]


def estimate_as_json(pricer: Pricer, fields: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return an estimate as JSON. Raises `BadRequest` naming the field."""

    def price(model: str, usage: Usage) -> Nanodollars | None:
        return pricer.cost(model, usage, now)

    if "messages" in fields:
        found = _prompt("", fields, price, "standard")
        return {
            "estimate": "prompt",
            "model": found.model,
            "input_tokens": found.input_tokens,
            "max_tokens": found.max_tokens,
            "least_usd": _usd(found.least),
            "most_usd": _usd(found.most),
            "prices": pricer.version,
        }
    if isinstance(requests := fields.get("requests"), list):
        bodies = []
        for at, one in enumerate(requests):
            if not isinstance(one, Mapping) or not isinstance(one.get("params"), Mapping):
                raise BadRequest(f"requests.{at}.params", "must be a Messages body")
            bodies.append((f"requests.{at}.params.", one["params"]))
        return estimates_as_json(pricer, bodies, now, batch=True)
    planned = _workload(fields)
    forecast = estimate.estimate_workload(planned, price)
    return {
        "estimate": "workload",
        **asdict(planned),
        "calls": forecast.calls,
        "cost_usd": _usd(forecast.cost),
        "plain_usd": _usd(forecast.plain),
        "saved_usd": None
        if forecast.cost is None or forecast.plain is None
        else usd(forecast.plain - forecast.cost),
        "prices": pricer.version,
    }


def estimates_as_json(
    pricer: Pricer, bodies: Iterable[tuple[str, Mapping[str, Any]]], now: float, *, batch: bool
) -> dict[str, Any]:
    """Estimate many Messages bodies, each with the prefix of its field names in errors.

    Raises `BadRequest` naming the field.
    """
    tier = "batch" if batch else "standard"
    found = [
        _prompt(where, body, lambda model, usage: pricer.cost(model, usage, now), tier)
        for where, body in bodies
    ]
    priced = [one for one in found if one.most is not None]
    return {
        "estimate": "batch" if batch else "prompts",
        "requests": len(found),
        "input_tokens": sum(one.input_tokens for one in found),
        "max_tokens": sum(one.max_tokens for one in found),
        "least_usd": usd(sum(one.least or 0 for one in priced)),
        "most_usd": usd(sum(one.most or 0 for one in priced)),
        "unpriced": len(found) - len(priced),
        "prices": pricer.version,
    }


def _prompt(
    where: str, fields: Mapping[str, Any], price: Price, tier: str
) -> estimate.PromptEstimate:
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest(f"{where}model", "must name a model")
    if not isinstance(fields.get("messages"), list) or not fields["messages"]:
        raise BadRequest(f"{where}messages", "must be a list of at least one message")
    allowed = fields.get("max_tokens")
    if not isinstance(allowed, int) or isinstance(allowed, bool) or allowed < 0:
        raise BadRequest(f"{where}max_tokens", "must be a whole number, 0 or more")
    return estimate.estimate_prompt(fields, model, price, tier=tier)


def _model(pricer: Pricer, model: str, now: float) -> dict[str, Any]:
    rates = pricer.rates(model, now)
    searches = None if rates is None else rates.web_search
    return {
        "model": model,
        "standard": _shown(rates),
        "batch": _shown(pricer.rates(model, now, tier="batch")),
        "fast": _shown(pricer.rates(model, now, speed="fast")),
        "long_prompts": _long(pricer.steps(model, now)),  # for all tokens of a longer prompt
        "web_search_per_1000": None if searches is None else f"{searches.normalize():f}",
    }


def _workload(fields: Mapping[str, Any]) -> Workload:
    try:
        return _WORKLOAD.validate_json(json_text.dumps(fields))
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        message = first["msg"].removeprefix("Value error, ")
        raise BadRequest(where[:64], message[:1].lower() + message[1:]) from None


def _shown(rates: Rates | None) -> dict[str, str | None] | None:
    if rates is None:
        return None
    found = {kind: getattr(rates, kind) for kind in _KINDS}
    return {kind: None if rate is None else f"{rate.normalize():f}" for kind, rate in found.items()}


def _usd(amount: Nanodollars | None) -> str | None:
    return None if amount is None else usd(amount)


_WORKLOAD: TypeAdapter[Workload] = TypeAdapter(Workload)
