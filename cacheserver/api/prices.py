"""`/v1/prices` and `/v1/estimate`: what Claude charges, and what a prompt or a plan would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError

from cacheserver import jsontext
from cacheserver.answer import usd
from cacheserver.api import errors
from cacheserver.api.edge import edge_of
from cacheserver.errors import BadRequest
from cacheserver.policy import estimate
from cacheserver.policy.estimate import Workload
from cacheserver.policy.money import Pricer
from cacheserver.types import Nanodollars, Usage

router = APIRouter(tags=["usage"])

_KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_LONG = 10_000_000  # tokens: beyond the last tier there is


@router.get("/v1/prices", summary="What each model costs now")
async def prices(request: Request) -> dict[str, Any]:
    """US dollars a million tokens, by kind: standard, in a batch, fast, and of long prompts."""
    edge = edge_of(request)
    await edge.gate.admit(request)
    return shown(edge.parts.pricer, edge.parts.clock())


@router.post("/v1/estimate", summary="What a prompt or a planned workload will cost")
async def estimated(request: Request) -> dict[str, Any]:
    """A Messages body (it has `messages`), or a workload: `model`, `requests`, `input_tokens`,
    `output_tokens`, and where it applies `prefix_tokens`, `ttl`, `reused`, `answered`, `batch`.

    Nothing is sent to Claude. Tokens are estimated from characters.
    """
    edge = edge_of(request)
    await edge.gate.admit(request)
    fields = errors.parse(await errors.read_body(request, edge.max_body_bytes))
    return answer(edge.parts.pricer, fields, edge.parts.clock())


def shown(pricer: Pricer, now: float) -> dict[str, Any]:
    """Every priced model, with today's rates."""
    return {
        "version": pricer.version,
        "currency": "USD",
        "per_tokens": 1_000_000,
        "models": [
            {
                "model": model,
                "standard": (standard := _rates(pricer, model, now)),
                "batch": _rates(pricer, model, now, tier="batch"),
                "fast": _rates(pricer, model, now, speed="fast"),
                "long_prompt": None
                if (long := _rates(pricer, model, now, prompt_tokens=_LONG)) == standard
                else long,
            }
            for model in pricer.models(now)
        ],
    }


def answer(pricer: Pricer, fields: Mapping[str, Any], now: float) -> dict[str, Any]:
    """An estimate as JSON. Raises `BadRequest` naming the field."""

    def price(model: str, usage: Usage) -> Nanodollars | None:
        return pricer.cost(model, usage, now)

    if "messages" in fields:
        model = fields.get("model")
        if not isinstance(model, str) or not model:
            raise BadRequest("model", "must name a model")
        found = estimate.prompt(fields, model, price)
        return {
            "estimate": "prompt",
            "model": model,
            "input_tokens": found.input_tokens,
            "max_tokens": found.max_tokens,
            "least_usd": _usd(found.least),
            "most_usd": _usd(found.most),
            "prices": pricer.version,
        }
    planned = _workload(fields)
    forecast = estimate.workload(planned, price)
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


def _workload(fields: Mapping[str, Any]) -> Workload:
    try:
        return _WORKLOAD.validate_json(jsontext.dumps(fields))
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise BadRequest(where[:64], first["msg"][:1].lower() + first["msg"][1:]) from None


def _rates(pricer: Pricer, model: str, now: float, **how: Any) -> dict[str, str | None] | None:
    rates = pricer.rates(model, now, **how)
    if rates is None:
        return None
    found = {kind: getattr(rates, kind) for kind in _KINDS}
    return {kind: None if rate is None else f"{rate.normalize():f}" for kind, rate in found.items()}


def _usd(amount: Nanodollars | None) -> str | None:
    return None if amount is None else usd(amount)


_WORKLOAD: TypeAdapter[Workload] = TypeAdapter(Workload)
