"""The kernel's options, out of the settings: the kernel itself knows no settings."""

from __future__ import annotations

from cacheserver.cache.build import Answers, CacheOptions
from cacheserver.cache.semantic_index.build import IndexOptions
from cacheserver.claude.build import ClaudeOptions
from cacheserver.claude.upstream import Upstream
from cacheserver.config import settings as config
from cacheserver.config.settings import Settings


def claude_options(settings: Settings, simulated_url: str | None) -> ClaudeOptions:
    """Return the options for Claude, or for the simulated one at `simulated_url`."""
    choice = config.resolve_upstream(settings)
    base_url = choice.base_url or simulated_url
    assert base_url is not None  # `bootstrap` starts the simulated one where it is chosen
    secret = settings.anthropic_api_key
    key = secret.get_secret_value() if secret else None
    if choice.base_url is None:
        key = "simulated"
    if choice.cloud is not None:
        # No key: it says in fingerprints where and for whom an answer was made.
        key = "/".join(map(str, (choice.cloud.region, choice.cloud.profile, choice.cloud.project)))
    return ClaudeOptions(
        base_url=base_url,
        api_key=None if settings.credentials == "caller" else key,
        name=choice.name,
        cloud=choice.cloud,
        max_concurrent=settings.max_concurrent,
        max_waiting=settings.max_waiting,
        timeout_s=settings.timeout_s,
        retries=settings.retries,
        retry_wait_s=settings.retry_wait_s,
        max_wait_s=settings.max_wait_s,
        breaker_share=settings.breaker_share,
        breaker_calls=settings.breaker_calls,
        breaker_open_s=settings.breaker_open_s,
    )


def use_live(settings: Settings, claude: Upstream, answers: Answers) -> None:
    """Put the kernel's live settings into force."""
    claude.slots.max_waiting, claude.slots.max_wait_s = settings.max_waiting, settings.max_wait_s
    claude.retries, claude.retry_wait_s = settings.retries, settings.retry_wait_s
    answers.entries.entries.max_bytes = settings.max_bytes
    answers.reembedding.max_bytes = settings.max_bytes
    answers.decision_log.max_bytes = settings.max_decision_bytes
    answers.index_move.want(settings.index)
    answers.index_limit.bytes = settings.index_bytes


def cache_options(settings: Settings, *, worker: int = 0) -> CacheOptions:
    """`worker` numbers processes on one data directory: each has a snapshot of its own."""
    index_url = settings.index_redis_url
    return CacheOptions(
        data_dir=settings.data_dir,
        snapshot=f"index-{worker}.snapshot" if worker else "index.snapshot",
        default_model=settings.default_model,
        max_bytes=settings.max_bytes,
        max_decision_bytes=settings.max_decision_bytes,
        hot_bytes=settings.hot_bytes // 2,
        grace_s=settings.abandoned_s,
        index_bytes=settings.index_bytes,
        index=IndexOptions(
            kind=settings.index,
            url=None if index_url is None else index_url.get_secret_value(),
            most=settings.index_scope_vectors,
            wait_s=settings.store_wait_s,
        ),
    )
