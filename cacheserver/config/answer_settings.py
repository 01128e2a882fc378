"""Settings of stored answers: lifetimes, the bar, audits, the judge, and prices."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from cacheserver.config.fields import setting
from cacheserver.core.rules.routing import CHEAPEST_MODEL, Model
from cacheserver.core.types import DEFAULT_TTL_S, MAX_TTL_S


class AnswerSettings(BaseModel):
    """Settings of answers; `Settings` inherits them."""

    default_ttl_s: int = setting(
        DEFAULT_TTL_S,
        "The TTL of an answer if nothing else is set; 0: nothing is stored unless the caller asks.",
        "An hour: long enough for repeats of one day's work, short enough for facts that change.",
        ge=0,
        live=True,
    )
    max_ttl_s: int = setting(
        MAX_TTL_S,
        "The longest TTL a caller may ask for; a longer one is cut to it.",
        "30 days: models are replaced faster than answers older than that are worth keeping.",
        ge=0,
        live=True,
    )
    target: float = setting(
        0.01,
        "The share of semantic hits that may be wrong, for tenants without a bar of their own.",
        "One in a hundred: fewer than people who answer support mail get wrong.",
        gt=0,
        le=0.5,
        live=True,
    )
    similarity: float | None = setting(
        None,
        "The cosine that a stored question must reach to answer another, for tenants without a "
        "bar.",
        "None: a cosine alone serves a quarter to a half of the near misses written to fool it.",
        gt=0,
        le=1,
        live=True,
    )
    top_k: int = setting(
        10,
        "How many neighbours of a question are examined.",
        "Their agreement is evidence, in one round trip; what is served is of the nearest three.",
        ge=1,
        le=100,
        live=True,
    )
    audit_usd_per_day: float = setting(
        1.0,
        "The cost of audits a day and tenant, in US dollars: hits are asked again, to see "
        "whether they were right.",
        "Some 5,000 short answers of the cheapest model; without audits no error is ever measured.",
        ge=0,
        le=100_000,
        live=True,
    )
    judge_usd_per_day: float = setting(
        0.0,
        "The cost of the judge a day and tenant, in US dollars: Claude is asked whether two "
        "answers say the same if embeddings leave it open; 0: never.",
        "Off: what is open counts as different, which costs hits and never a wrong one.",
        ge=0,
        le=100_000,
        live=True,
    )
    judge_share: float = setting(
        0.2,
        "The share of open pairs that the judge is asked about.",
        "One in five tells of a scope what all would, at a fifth of the price.",
        gt=0,
        le=1,
        live=True,
    )
    judge_model: str = setting(
        CHEAPEST_MODEL,
        "The judge's model; it must accept `thinking` of type `disabled`.",
        "The cheapest current model reads two answers well enough, in one word.",
        min_length=1,
    )
    prices: Path | None = setting(
        None,
        "A TOML file of prices that override the built-in ones; `docs/running.md` has an example.",
        "The built-in ones are Anthropic's list prices; yours may be negotiated.",
    )
    wrong_hit_usd: float = setting(
        0.0,
        "The cost of a wrong answer to you, in US dollars: reports subtract it from the savings.",
        "Only you know; at 0 the estimate of wrong answers stands beside the savings all the same.",
        ge=0,
        le=1_000_000,
        live=True,
    )
    compare_with: Model | None = setting(
        None,
        "A model: reports say what the same requests would have cost at it, for tenants that name "
        "none.",
        "None: reports compare with Opus and Sonnet alone; only you know what you used before.",
        live=True,
    )
