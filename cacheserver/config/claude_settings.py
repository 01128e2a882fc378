"""Settings of calls to Claude: whom to ask, how many at a time, and how long."""

from __future__ import annotations

from pydantic import BaseModel

from cacheserver.config.fields import BedrockProfile, Credentials, Secret, setting
from cacheserver.core.rules.routing import CHEAPEST_MODEL


class ClaudeSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    upstream: str | None = setting(
        None,
        "The upstream that answers misses: `anthropic`, `simulated`, `bedrock`, `vertex` "
        "([clouds](clouds.md)), or the http(s) URL of a Messages API.",
        "Without it `anthropic`, if there is a key or callers bring theirs; else the server does "
        "not start, rather than answer with something that is not Claude.",
    )
    upstream_region: str | None = setting(
        None,
        "The region of Amazon Bedrock or Vertex AI, if `CACHESERVER_UPSTREAM` is one of them. "
        "Without it, `AWS_REGION`, `AWS_DEFAULT_REGION` or `CLOUD_ML_REGION` is read.",
        "Where prompts may go is for an operator to say.",
        pattern=r"^[a-z0-9-]{2,40}$",
    )
    upstream_endpoint: str | None = setting(
        None,
        "Another address of the cloud's API, such as a private endpoint.",
        "The public one of the region.",
    )
    upstream_models: str | None = setting(
        None,
        "Names of models at the cloud that differ from the usual ones, as `model=name` with commas "
        "between; a name may be an ARN.",
        "The usual names follow from the model's and from `CACHESERVER_BEDROCK_PROFILE`.",
    )
    bedrock_profile: BedrockProfile = setting(
        "global",
        "Bedrock's inference profile: where a request may be served. `none`: the region alone.",
        "Anywhere has the most room and costs a tenth less. Data that must stay in a place need "
        "another.",
    )
    vertex_project: str | None = setting(
        None,
        "The Google Cloud project of Vertex AI. Without it, `ANTHROPIC_VERTEX_PROJECT_ID` or "
        "`GOOGLE_CLOUD_PROJECT` is read.",
        "Whose bill it is, is for an operator to say.",
        min_length=1,
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
