"""The linter's findings as JSON, for the route and the command."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cacheserver.cache import fingerprint
from cacheserver.core.money import usd
from cacheserver.core.types import AUTO
from cacheserver.lint import rules
from cacheserver.pricing.estimate import prompt_tokens

# Default volume, to compare findings by.
REQUESTS_A_DAY = 1_000


def report(
    body: dict[str, Any], requests_a_day: int, price: rules.Price, default_model: str
) -> dict[str, Any]:
    """Return the findings as JSON. Raises `BadRequest` if the body is not a Messages body."""
    fingerprint.check(body)
    model = default_model if body["model"] == AUTO else body["model"]
    found = rules.lint(body, model=model, requests_a_day=requests_a_day, price=price)
    shown = [
        {**asdict(one), "saves": None if one.saves is None else usd(one.saves)} for one in found
    ]
    for one in shown:
        one["saves_usd_a_day"] = one.pop("saves")
    return {
        "model": model,
        "tokens": prompt_tokens(body, model),
        "requests_a_day": requests_a_day,
        "findings": shown,
    }
