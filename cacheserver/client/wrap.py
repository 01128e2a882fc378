"""`wrap`: a client of the anthropic SDK whose messages go through the cache."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from cacheserver.client.base import DEFAULT_URL
from cacheserver.client.http import identification

T = TypeVar("T")

_KEYLESS: Final = "no-key"  # the SDK sends something; a server without keys does not read it
# What leads elsewhere than to the cache, or identifies there: options of the straight half alone.
_STRAIGHT: Final = frozenset(
    {"api_key", "auth_token", "credentials", "config", "profile", "base_url", "http_client"}
)


def wrap(client: T, url: str = DEFAULT_URL, *, key: str | None = None, own_key: bool = False) -> T:
    """Return a copy of an `Anthropic` or `AsyncAnthropic` whose messages go through the cache.

    `messages.create`, `.stream`, `.parse`, `.batches` and the rest of `messages` are sent to the
    cacheserver at `url`, with `key`; everything else goes straight to Claude, as before. `own_key`:
    the server lets callers bring their own Anthropic key, so the client's goes along. Raises
    `TypeError` for any other client, such as those of Bedrock: their servers are asked by the
    cacheserver itself.
    """
    if not _is_sdk_client(client):
        given = type(client).__name__
        raise TypeError(f"wrap() takes an `anthropic.Anthropic` or `AsyncAnthropic`, not {given}")
    identification(key, None)  # refuses a key that no header can carry
    sdk: Any = client
    ours = {"base_url": url.rstrip("/")}
    if own_key:
        through = sdk.copy(
            **ours, default_headers={} if key is None else {"x-cacheserver-key": key}
        )
    else:
        through = sdk.copy(**ours, api_key=key or _KEYLESS)
    wrapped: T = _joined(sdk.copy(), through)
    return wrapped


def _joined(straight: Any, through: Any) -> Any:
    """Give `straight` the messages of `through`, and to its copies too."""

    def copy(**options: Any) -> Any:
        shared = {name: value for name, value in options.items() if name not in _STRAIGHT}
        return _joined(type(straight).copy(straight, **options), through.copy(**shared))

    # `messages` is a cached property, so the instance's own value is what is found.
    vars(straight).update(messages=through.messages, copy=copy, with_options=copy)
    return straight


def _is_sdk_client(client: object) -> bool:
    """Return True for the SDK's own clients of Anthropic's API, and classes derived from them.

    Its clients of other platforms derive from them as well, and have names of their own.
    """
    bases = [base for base in type(client).__mro__ if base.__module__.split(".")[0] == "anthropic"]
    named = [base.__name__.removeprefix("Async") for base in bases]
    kinds = [name for name in named if name.startswith("Anthropic")]
    return bool(kinds) and all(name == "Anthropic" for name in kinds)
