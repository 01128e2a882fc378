"""Settings of stored answers: lifetimes, the bar, audits, the judge, and prices."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from cacheserver.config.fields import setting
from cacheserver.core.rules.routing import CHEAPEST_MODEL
from cacheserver.core.types import DEFAULT_TTL_S, MAX_TTL_S


class AnswerSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    default_ttl_s: int = setting(
        DEFAULT_TTL_S,
        "How long an answer is served where nothing else is set; 0 stores nothing unless asked.",
        "An hour: long enough for repeats of one day's work, short enough for facts that change.",
        ge=0,
    )
    max_ttl_s: int = setting(
        MAX_TTL_S,
        "The longest a caller may ask for; longer requests are cut to it.",
        "30 days: models are replaced faster than answers older than that are worth keeping.",
        ge=0,
    )
    target: float = setting(
        0.01,
        "The share of semantic hits that may be wrong, where a tenant has no bar of its own.",
        "One in a hundred: fewer than people who answer support mail get wrong.",
        gt=0,
        le=0.5,
    )
    similarity: float | None = setting(
        None,
        "The cosine a stored question must reach to answer another one, where a tenant has no bar.",
        "None: a cosine alone serves a quarter to a half of the near misses written to fool it.",
        gt=0,
        le=1,
    )
    top_k: int = setting(
        10,
        "How many neighbours are looked at before it is a miss.",
        "Their agreement is evidence, in one round trip; what is served is of the nearest three.",
        ge=1,
        le=100,
    )
    model_dir: Path | None = setting(
        None,
        "The exported embedding model; `model` in the data directory where absent.",
        "It is made once per machine and lives with the data it measures.",
    )
    audit_usd_per_day: float = setting(
        1.0,
        "What asking hits again, to see whether they were right, may cost a tenant a day.",
        "Some 5,000 short answers of the cheapest model; without audits no error is ever measured.",
        ge=0,
        le=100_000,
    )
    judge_usd_per_day: float = setting(
        0.0,
        "What asking Claude whether two answers say the same, where embeddings leave it open, may "
        "cost a tenant a day; 0: never asked.",
        "Off: what is open counts as different, which costs hits and never a wrong one.",
        ge=0,
        le=100_000,
    )
    judge_share: float = setting(
        0.2,
        "The share of such pairs that Claude is asked about, where it may be asked.",
        "One in five tells of a scope what all would, at a fifth of the price.",
        gt=0,
        le=1,
    )
    judge_model: str = setting(
        CHEAPEST_MODEL,
        "The model that is asked; it must take `thinking` of type `disabled`.",
        "The cheapest current model reads two answers well enough, in one word.",
        min_length=1,
    )
    prices: Path | None = setting(
        None,
        "A TOML file of prices that go before the built-in ones; `docs/running.md` has an example.",
        "The built-in ones are Anthropic's list prices; yours may be negotiated.",
    )
    wrong_hit_usd: float = setting(
        0.0,
        "What a wrong answer costs you, in US dollars: it is taken off the savings in reports.",
        "Only you know; at 0 the estimate of wrong answers stands beside the savings all the same.",
        ge=0,
        le=1_000_000,
    )
