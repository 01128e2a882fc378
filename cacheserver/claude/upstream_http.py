"""HTTP details of calls to Claude: headers, and the count of tries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx2

from cacheserver.core import request_context
from cacheserver.core.errors import UpstreamError

VIA = "1.1 cacheserver"  # marks what we send; a request that arrives with it has come full circle

# What is between two neighbours, and no third's to see (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)

# What never goes up: the hop's own, the credential (set per call), and what speaks to the cache.
_NOT_SENT = frozenset(
    HOP_BY_HOP
    | {"expect", "host"}
    | {"accept-encoding", "content-encoding", "content-length", "content-type"}
    | {"authorization", "cookie", "proxy-authorization", "x-api-key"}
    | {"cache-control", "via"}
)
_NOT_SENT_PREFIXES = ("x-stainless-", "x-cache")

_PASSED_BACK = frozenset(
    {"content-type", "request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-upstream"}
)


@dataclass(slots=True)
class Tries:
    """Tries of a call that Claude may bill although no answer came."""

    lost: int = 0  # sent, and ended without an answer
    under_way: bool = False  # one is sent, and not answered to its end, as far as is known here

    @property
    def unanswered(self) -> int:
        return self.lost + self.under_way


# Those of the call under way: the SDK's client has no other way to tell of them.
current_tries: ContextVar[Tries | None] = ContextVar("tries", default=None)


@contextmanager
def counted(tries: Tries) -> Iterator[None]:
    """Count in `tries` the requests sent within."""
    before = current_tries.set(tries)
    try:
        yield
    finally:
        current_tries.reset(before)


class Body(bytes):
    """A request body, which the SDK's debug log would print (`ANTHROPIC_LOG=debug`)."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class _Secret(str):
    """A header's value, which the same log would print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


def identity(name: str, base_url: str, api_key: str | None) -> str:
    """Return the name of this Claude in every fingerprint, the same on each start."""
    if name == "simulated":
        return name  # served on a free port: its address is another one each time
    account = hashlib.sha256(api_key.encode()).hexdigest()[:16] if api_key else "none"
    return f"{str(httpx2.URL(base_url)).rstrip('/')}#{account}"


def sent(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the headers of a call: the caller's, `key` as the SDK 2.x sends it, and our mark."""
    lowered = {name.lower(): value for name, value in headers.items()}
    via = lowered.get("via")
    return {
        **{
            name: value
            for name, value in lowered.items()
            if name not in _NOT_SENT and not name.startswith(_NOT_SENT_PREFIXES)
        },
        "authorization": _Secret(f"Bearer {key}"),
        "via": f"{via}, {VIA}" if via else VIA,
    }


def traced(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with the trace context of the current request, if any."""
    seen = request_context.current()
    if seen is not None and seen.trace is not None:
        headers.setdefault("traceparent", seen.trace.header)
    return headers


def passed_back(headers: httpx2.Headers) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name in _PASSED_BACK or name.startswith("anthropic-")
    }


@contextmanager
def shaped() -> Iterator[None]:
    """Turn errors of the SDK and of the connection into `UpstreamError`."""
    import anthropic  # at hand by now; the server starts without it (`sdk`)

    try:
        yield
    except anthropic.APIStatusError as error:
        answer = error.response
        # Not chained: the SDK's message quotes the body, which may quote the prompt.
        raise UpstreamError(
            answer.status_code, answer.content, passed_back(answer.headers)
        ) from None
    except (anthropic.APITimeoutError, httpx2.TimeoutException) as error:
        raise UpstreamError.shaped(504, "timeout_error", "Claude did not answer in time") from error
    except (anthropic.APIConnectionError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise UpstreamError.shaped(
            502, "api_error", "the connection to Claude failed or was lost"
        ) from error
