"""The headers every response of the simulated API carries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cacheserver.simulated import caller
from cacheserver.simulated.claude import request_id

_REQUESTS_A_MINUTE = 4_000  # the limits shown, those of the largest tier; nothing enforces them
_TOKENS_A_MINUTE = 4_000_000


class Labelled:
    """Puts on every response the headers that Claude's have, and that this one is simulated."""

    def __init__(self, inner: ASGIApp, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._clock = clock
        self._minute = 0
        self._requests = 0  # in that minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        scope["simulated.request_id"] = request_id()
        labels = {
            "x-upstream": "simulated",
            "request-id": scope["simulated.request_id"],
            **self._limits(),
        }
        account = caller.account(Headers(scope=scope))
        if account is not None:
            labels["anthropic-organization-id"] = caller.organization_id(account)

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(labels)
            await send(message)

        await self._inner(scope, receive, labelled)

    def _limits(self) -> dict[str, str]:
        now = self._clock()
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._requests = minute, 0
        self._requests += 1
        reset = datetime.fromtimestamp((minute + 1) * 60, UTC).isoformat()
        shown: dict[str, str] = {}
        for kind, limit, left in (
            ("requests", _REQUESTS_A_MINUTE, max(0, _REQUESTS_A_MINUTE - self._requests)),
            ("tokens", _TOKENS_A_MINUTE, _TOKENS_A_MINUTE),
            ("input-tokens", _TOKENS_A_MINUTE, _TOKENS_A_MINUTE),
            ("output-tokens", _TOKENS_A_MINUTE, _TOKENS_A_MINUTE),
        ):
            shown[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
            shown[f"anthropic-ratelimit-{kind}-remaining"] = str(left)
            shown[f"anthropic-ratelimit-{kind}-reset"] = reset
        return shown
