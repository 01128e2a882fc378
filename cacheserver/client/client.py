"""Python client of a cacheserver over HTTP.

    from cacheserver import Client

    with Client("http://127.0.0.1:8080", key="…") as cache:
        answer = cache.query("What is the capital of France?")
        print(answer.text, answer.decision.kind, answer.saved_usd)

Its one dependency is `httpx2`. Errors are drawn in `client.types`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Literal, Self, Unpack

import httpx2

from cacheserver.client import failures, fallback
from cacheserver.client import http as wire
from cacheserver.client.admin import Admin
from cacheserver.client.base import DEFAULT_URL, MAX_RETRIES, TIMEOUT_S, Common, timeouts
from cacheserver.client.calls import Call
from cacheserver.client.jobs import Batches, Jobs
from cacheserver.client.operations import Operations, ledger_rows
from cacheserver.client.stream import Stream
from cacheserver.client.types import (
    Answer,
    Asked,
    ClientError,
    NotCachedError,
    Options,
    Purge,
    PutOptions,
    Stored,
)


class Client(Common, Operations[dict[str, Any], str]):
    """Ask a cacheserver, one question at a time. Safe to share between threads.

    `anthropic_key` is for servers that let callers bring their own. `fallback` is an
    `anthropic.Anthropic`, which is asked straight while no server answers. An `http` client is
    yours to close, and brings its own timeout, proxies and certificates; ours takes none of these
    from the environment.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        anthropic_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        fallback: fallback.Claude | None = None,
        http: httpx2.Client | None = None,
    ) -> None:
        Common.__init__(self, url, key=key, anthropic_key=anthropic_key, max_retries=max_retries)
        Operations.__init__(self, self._object, self._text)
        if fallback is not None:
            _refuse_useless(fallback, url)
        self._fallback = fallback
        self._owned = http is None
        self._http = http or httpx2.Client(timeout=timeouts(timeout_s), trust_env=False)

    @property
    def admin(self) -> Admin[dict[str, Any], str]:
        """Calls of `/admin/v1`, by group; they need an admin key."""
        return Admin(self._object, self._text)

    @property
    def jobs(self) -> Jobs:
        """Questions that may wait, for half the price."""
        return Jobs(self._send)

    @property
    def batches(self) -> Batches:
        """Message Batches, each item through the cache."""
        return Batches(self._object, self._text, self._lines)

    def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """Answer a prompt, or `messages`. See `Options`."""
        call, straight = wire.question(prompt, **options), self._straight(options)
        try:
            response = self._send(call, straight=straight)
        except ClientError as failed:
            if self._fallback is None or not fallback.due(failed, options):
                raise
            asked = fallback.body(prompt, options)
            return fallback.answer(self._fallback.messages.create(**asked))
        return wire.read_answer(response.status_code, response.headers, response.content)

    def get(self, prompt: str | None = None, **options: Unpack[Asked]) -> Answer | None:
        """Look up a stored answer; None if none may be served. Claude is asked nothing."""
        try:
            response = self._send(wire.get(prompt, **options))
        except NotCachedError:
            return None
        return wire.read_answer(response.status_code, response.headers, response.content)

    def put(self, prompt: str | None, answer: str, **options: Unpack[PutOptions]) -> Stored:
        """Store an answer of your own, which is served like Claude's and marked `own`.

        Needs a key with the role `write`, or an admin key and `tenant`.
        """
        response = self._send(wire.put(prompt, answer, **options))
        return wire.read_stored(response.status_code, response.headers, response.content)

    @contextmanager
    def stream(self, prompt: str | None = None, **options: Unpack[Options]) -> Iterator[Stream]:
        """Stream the answer to a prompt: iterate over the events, or over `text()`."""
        call = wire.question(prompt, **options, stream=True)
        try:
            response = self._send(call, stream=True, straight=self._straight(options))
        except ClientError as failed:
            if self._fallback is None or not fallback.due(failed, options):
                raise
            asked = fallback.body(prompt, options)
            with closing(self._fallback.messages.create(**asked, stream=True)) as events:
                yield Stream(straight=events)
            return
        with closing(response):
            yield Stream(response)

    def purge(self, **selector: Unpack[Purge]) -> int:
        """Forget one entry, or all of a tag, context key or namespace; return how many are gone."""
        return int(self._object(wire.purge(**selector)).get("purged", 0))

    def items(
        self, page: Callable[..., Mapping[str, Any]], *given: Any, **filters: Any
    ) -> Iterator[dict[str, Any]]:
        """Iterate over all items of a list that comes in pages, such as `admin.entries.list`."""
        while True:
            found = page(*given, **filters)
            yield from found["items"]
            if not found.get("next"):
                return
            filters["cursor"] = found["next"]

    def export(
        self,
        format: Literal["csv", "jsonl", "parquet"] = "jsonl",
        *,
        start: str | float | None = None,
        end: str | float | None = None,
        tenant: str | None = None,
    ) -> Iterator[bytes]:
        """Stream the ledger's rows of a range of time, in pieces of a file.

        With the admin key, of all tenants or of `tenant`.
        """
        with closing(self._send(ledger_rows(format, start, end, tenant), stream=True)) as response:
            try:
                yield from response.iter_bytes()
            except httpx2.RequestError as error:
                raise self._lost(error, begun=True) from error

    def live(self) -> Generator[dict[str, Any], None, None]:
        """Iterate over the server's counts, cost and latency, every two seconds, without end.

        Needs an admin key. Raises `ConnectionFailed` where the server ends it.
        """
        decoder = wire.EventDecoder()
        with closing(self._send(wire.LIVE, stream=True)) as response:
            try:
                for chunk in response.iter_bytes():
                    yield from decoder.feed(chunk)
            except httpx2.RequestError as error:
                raise self._lost(error, begun=True) from error
        raise wire.live_ended()

    def close(self) -> None:
        """Close the connections. A closed client asks nothing more."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _straight(self, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return None if self._fallback is None else options

    def _object(self, call: Call) -> dict[str, Any]:
        response = self._send(call)
        return wire.read_object(response.status_code, response.headers, response.content)

    def _text(self, call: Call) -> str:
        response = self._send(call)
        return wire.read_text(response.status_code, response.headers, response.content)

    def _lines(self, call: Call) -> Iterator[str]:
        with closing(self._send(call, stream=True)) as response:
            try:
                yield from filter(None, response.iter_lines())
            except httpx2.RequestError as error:
                raise self._lost(error, begun=True) from error

    def _send(
        self, call: Call, *, stream: bool = False, straight: Mapping[str, Any] | None = None
    ) -> httpx2.Response:
        retries = 0
        while True:
            response = None
            try:
                response = self._http.send(self._request(self._http, call), stream=True)
                if response.is_success and stream:
                    return response
                with closing(response):
                    body = response.read()
                if response.is_success:
                    return response
                failed: ClientError = failures.failure(
                    response.status_code, response.headers, body, call
                )
            except httpx2.RequestError as error:
                failed = self._lost(error, begun=response is not None)
            time.sleep(self._pause_s(call, failed, response, retries, straight))
            retries += 1


def _refuse_useless(claude: object, url: str) -> None:
    fallback.refuse_useless(claude, url, blocking=True)
