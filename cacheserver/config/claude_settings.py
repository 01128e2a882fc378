"""Settings of calls to Claude: whom to ask, how many at a time, and how long."""

from __future__ import annotations

from pydantic import BaseModel

from cacheserver.config.fields import Credentials, Secret, setting
from cacheserver.core.rules.routing import CHEAPEST_MODEL


class ClaudeSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    upstream: str | None = setting(
        None,
        "The upstream that answers misses: `anthropic`, `simulated`, or the http(s) URL of a "
        "Messages API.",
        "Without it `anthropic`, if there is a key or callers bring theirs; else the server does "
        "not start, rather than answer with something that is not Claude.",
    )
    anthropic_api_key: Secret = setting(
        None,
        "The key for Claude. Without it, `ANTHROPIC_API_KEY` is read.",
        "The usual name works; the longer one tells the server from an application beside it.",
        min_length=1,
    )
    credentials: Credentials = setting(
        "server",
        "`server`: callers present a key of ours and Claude is asked with the server's. `caller`: "
        "they present their own Anthropic key, which goes to Claude.",
        "One key for Claude, kept in one place, never seen by callers.",
    )
    default_model: str = setting(
        CHEAPEST_MODEL,
        "The model behind `auto`.",
        "The cheapest current model; sonnet costs 20 times as much.",
        min_length=1,
    )
    max_concurrent: int = setting(
        64,
        "Calls to Claude in flight at a time.",
        "A call takes seconds: 64 are some 1,000 a minute, the smallest rate limit (Start).",
        ge=1,
    )
    max_waiting: int = setting(
        256,
        "Calls that wait for a free place among `CACHESERVER_MAX_CONCURRENT`; more are answered "
        "529 at once.",
        "Four rounds: whoever waits longer is better told to come back.",
        ge=0,
        live=True,
    )
    max_wait_s: float = setting(
        30.0,
        "How long a call waits for a free place; then it is answered 529.",
        "Half the minute after which proxies give up (nginx, AWS), so there is time for an answer.",
        gt=0,
        le=3_600,
        live=True,
    )
    retries: int = setting(
        2,
        "How often a failed call to Claude is retried; 0: never, and the caller retries.",
        "The Anthropic SDK's own.",
        ge=0,
        le=10,
        live=True,
    )
    retry_wait_s: float = setting(
        10.0,
        "How long a call may wait between retries in all. If Claude asks for more, it fails at "
        "once.",
        "Room for the SDK's two back-offs and a short `retry-after`; people wait no longer.",
        ge=0,
        le=600,
        live=True,
    )
    abandoned_s: float = setting(
        30.0,
        "How long a call to Claude continues after its callers have hung up, so that its answer "
        "is stored.",
        "Who hung up on a time-out is back sooner: SDKs wait 8 seconds at most between tries.",
        ge=0,
        le=86_400,
    )
    breaker_share: float = setting(
        0.5,
        "The circuit breaker opens above this share of failed calls to Claude (5xx, time-out, "
        "lost connection) in half a minute; 1: never.",
        "More fail than not: what is served then is luck, and each failure holds a slot.",
        gt=0,
        le=1,
    )
    breaker_calls: int = setting(
        10,
        "Calls in that half minute, retries included, before the circuit breaker may open.",
        "Of ten that succeed 95% of the time more than half fail once in 360,000 times.",
        ge=1,
    )
    breaker_open_s: float = setting(
        5.0,
        "How long the circuit breaker stays open at first; doubled up to 60 s while a probe fails.",
        "Shorter than one patient retry; a restart behind a gateway takes no longer.",
        gt=0,
        le=60,
    )
    timeout_s: float = setting(
        600.0, "The time limit of a call to Claude.", "The Anthropic SDK's own.", gt=0, le=86_400
    )
