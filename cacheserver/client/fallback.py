"""Straight to Claude while no cacheserver answers: which failures, what is asked, what is returned.

Rule: only where the server cannot have refused. Its own word (4xx, 529) stands, and so do a
question that Claude must not be asked (`cache="only"`) and one whose earlier turns only the server
knows (`conversation`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from cacheserver.client.types import Answer, ClientError, ConnectionFailed, Decision
from cacheserver.core.usage import usage_of

# For `model="auto"`: the server's middle tier. Long enough for most answers, and within what the
# SDK sends without a stream.
MODEL: Final = "claude-sonnet-5-5"
MAX_TOKENS: Final = 8_192

_AWAY = (502, 503)
PAST = Decision(kind="bypass", reason="fallback")


class Claude(Protocol):
    """A client of the anthropic SDK."""

    @property
    def messages(self) -> Any: ...


def due(failed: ClientError, options: Mapping[str, Any]) -> bool:
    """Return whether to ask Claude past the cache after this failure."""
    if options.get("cache") == "only" or options.get("conversation") is not None:
        return False
    if isinstance(failed, ConnectionFailed):
        return not failed.begun
    return failed.status in _AWAY


def body(prompt: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `messages.create` that ask the same."""
    model, system, schema = (options.get(name) for name in ("model", "system", "schema"))
    asked: dict[str, Any] = {
        "model": MODEL if model in (None, "auto") else model,
        "max_tokens": options.get("max_tokens") or MAX_TOKENS,
        "messages": options.get("messages") or [{"role": "user", "content": prompt}],
    }
    if system is not None:
        asked["system"] = system
    if schema is not None:
        asked["extra_body"] = {
            "output_config": {"format": {"type": "json_schema", "schema": schema}}
        }
    return asked


def answer(message: Any) -> Answer:
    """Return a message of the SDK as an answer that says that it came past the cache."""
    found: dict[str, Any] = message.to_dict()
    content = tuple(found.get("content") or ())
    return Answer(
        text="".join(block["text"] for block in content if block.get("type") == "text"),
        content=content,
        decision=PAST,
        model=str(found.get("model", "")),
        stop_reason=found.get("stop_reason"),
        usage=usage_of(found),
        cost_usd=None,
        saved_usd=None,
        batch_eligible=False,
        ttl_s=None,
        entry_id=None,
        decision_id=None,
        request_id=getattr(message, "_request_id", None),
    )


def refuse_useless(claude: object, url: str, *, blocking: bool) -> None:
    """Raise for a client that blocks where ours awaits, or the reverse, or asks the server itself.

    The first is a `TypeError`, the other a `ValueError`: with `ANTHROPIC_BASE_URL` set, a client
    of the SDK asks cacheserver, which is away when the fallback is needed.
    """
    own = str(getattr(claude, "base_url", "")).rstrip("/").removesuffix("/v1")
    if own == url.rstrip("/").removesuffix("/v1"):
        raise ValueError(
            f"`fallback` asks cacheserver itself, at {own}, because of `base_url` or "
            '`ANTHROPIC_BASE_URL`: give it base_url="https://api.anthropic.com"'
        )
    if type(claude).__name__.startswith("Async") is blocking:
        kind = "Anthropic" if blocking else "AsyncAnthropic"
        raise TypeError(
            f"`fallback` must be an `anthropic.{kind}` here, not {type(claude).__name__}"
        )
