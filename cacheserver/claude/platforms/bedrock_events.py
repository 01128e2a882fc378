"""Bedrock's event stream as server-sent events, as Claude's own API sends them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from cacheserver.core import json_text

_METRICS = "amazon-bedrock-invocationMetrics"  # Bedrock's own, in the last event


def as_sse(response: httpx2.Response) -> httpx2.Response:
    """Return a response whose body is the events of `response`. Closing it closes that."""
    headers = [("content-type", "text/event-stream")]
    if (id := response.headers.get("x-amzn-requestid")) is not None:
        headers.append(("request-id", id))
    return httpx2.Response(
        response.status_code, headers=headers, stream=_Events(response), request=response.request
    )


def load() -> None:
    """Read what Bedrock's events look like, which takes a tenth of a second once."""
    from anthropic.lib.bedrock._stream_decoder import get_response_stream_shape

    get_response_stream_shape()


class _Events(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
        from botocore.eventstream import ParserError

        decoder = AWSEventStreamDecoder()
        try:
            async for event in decoder.aiter_bytes(self._response.aiter_bytes()):
                data = event.data
                if _METRICS in data:
                    data = _without_metrics(data)
                yield f"event: {event.event}\ndata: {data}\n\n".encode()
        except ParserError as error:  # a checksum, or a length: it was cut or changed on its way
            raise httpx2.RemoteProtocolError("an event of Bedrock's is damaged") from error

    async def aclose(self) -> None:
        await self._response.aclose()


def _without_metrics(data: str) -> str:
    found = json_text.loads(data)
    if isinstance(found, dict):
        found.pop(_METRICS, None)
    return json_text.dumps(found).decode()
