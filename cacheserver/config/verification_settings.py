"""Settings of verification: the model that is asked whether a stored answer serves."""

from __future__ import annotations

from pydantic import BaseModel

from cacheserver.config.fields import setting
from cacheserver.core.rules.routing import CHEAPEST_MODEL


class VerificationSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    verify_model: str = setting(
        CHEAPEST_MODEL,
        "The model that verifies; it must accept `thinking` of type `disabled` and have a price.",
        "The cheapest current model reads two questions and an answer well enough, in one word.",
        min_length=1,
    )
    verify_usd_per_day: float = setting(
        1.0,
        "The cost of verification a day and tenant, in US dollars; 0: never.",
        "Some 8,000 calls of 1,250 tokens: a bound on a mistake, not on what pays.",
        ge=0,
        le=100_000,
        live=True,
    )
    verify_key_share: float = setting(
        0.5,
        "The share of that cost which one key may cause.",
        "Half: one application's flood leaves the others something.",
        gt=0,
        le=1,
        live=True,
    )
    verify_timeout_s: float = setting(
        3.0,
        "The longest time that a request waits for a verification, in seconds.",
        "Three: longer than a word takes, and never more than half of what the answer takes.",
        gt=0,
        le=60,
        live=True,
    )
    verify_max_tokens: int = setting(
        4_000,
        "The most input tokens of a verification; longer tasks and answers are not verified.",
        "Beyond some thousand tokens the call costs as much as the answer.",
        ge=200,
        le=200_000,
        live=True,
    )
    verify_sensitivity: float = setting(
        0.9,
        "The share of serving answers to which the model says yes, until it is measured.",
        "`cacheserver verify-model` measures it on your own pairs.",
        gt=0,
        le=1,
    )
    verify_false_yes: float = setting(
        0.1,
        "The share of answers that do not serve to which it says yes, until it is measured.",
        "One in ten: with it a yes serves only what was nearly sure before.",
        gt=0,
        le=1,
    )
    verify_audit_share: float = setting(
        0.05,
        "The share of verified hits that are asked again, once the rates are measured.",
        "Until then it is three in ten; one in twenty notices a change within some thousand hits.",
        ge=0.01,
        le=1,
        live=True,
    )
