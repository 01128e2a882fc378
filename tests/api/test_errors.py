"""Errors as a caller sees them, over a real socket; and what of them gets into the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cacheserver.api import errors
from cacheserver.api.plain_route import PlainRoute
from cacheserver.core.errors import (
    BadRequest,
    Forbidden,
    Loop,
    NotCached,
    NotFound,
    Overloaded,
    StoreError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UpstreamError,
)
from tests.house import serving

SECRET = "my very private question"


class Question(BaseModel):
    text: str
    ttl_s: int


class Site:
    """An application whose routes fail as they are told."""

    def __init__(self) -> None:
        self.error: Exception = RuntimeError("not set")
        self.counted: list[int] = []
        self.app = FastAPI()
        hot = PlainRoute("/v1/hot", self.fail, "POST")  # answered before the framework is entered
        errors.install(self.app, failed=self.counted.append, hot=[hot])
        self.app.add_route("/v1/fail", self.fail, methods=["POST"])
        self.app.add_route("/v1/cut", self.cut)
        self.app.post("/v1/typed")(self.typed)

    async def fail(self, request: Request) -> Response:
        raise self.error

    async def cut(self, request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"event: ping\n\n"
            raise self.error

        return StreamingResponse(events(), media_type="text/event-stream")

    async def typed(self, question: Question) -> dict[str, Any]:
        return question.model_dump()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def http(site: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(site.app) as url, httpx2.AsyncClient(base_url=url) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/fail", "/v1/hot"])
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("model", "is missing"), 400, "invalid_request_error"),
        (Unauthenticated("no key"), 401, "authentication_error"),
        (Forbidden("not you"), 403, "permission_error"),
        (NotFound("gone"), 404, "not_found_error"),
        (TooLarge("too large"), 413, "request_too_large"),
        (Loop("a loop"), 508, "invalid_request_error"),
        (Unavailable("who knows"), 503, "api_error"),
        (StoreError("redis at 10.0.0.1 said no"), 503, "api_error"),
        (RuntimeError(SECRET), 500, "api_error"),
    ],
)
async def test_every_error_has_anthropics_shape_and_one_request_id(
    site: Site, http: httpx2.AsyncClient, error: Exception, status: int, kind: str, path: str
) -> None:
    site.error = error
    response = await http.post(path)
    told = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert (told["type"], told["error"]["type"]) == ("error", kind)
    assert told["request_id"] == response.headers["request-id"]
    assert response.headers["x-cache"] == "bypass"
    assert site.counted == [status]


async def test_the_field_that_is_wrong_is_named(site: Site, http: httpx2.AsyncClient) -> None:
    site.error = BadRequest("max_tokens", "must be a whole number")
    told = (await http.post("/v1/fail")).json()
    assert told["error"]["message"] == "`max_tokens`: must be a whole number"


async def test_each_request_has_an_id_of_its_own(site: Site, http: httpx2.AsyncClient) -> None:
    site.error = NotFound("gone")
    ids = {(await http.post("/v1/fail")).headers["request-id"] for _ in range(5)}
    ids.add((await http.get("/openapi.json")).headers["request-id"])
    assert len(ids) == 6
    assert all(id.startswith("req_") for id in ids)


async def test_what_the_store_said_is_not_passed_on(site: Site, http: httpx2.AsyncClient) -> None:
    site.error = StoreError("redis at 10.0.0.1 said no")
    response = await http.post("/v1/fail")
    assert "10.0.0.1" not in response.text
    assert response.headers["retry-after"] == "1"


async def test_claudes_own_words_are_passed_on_unchanged(
    site: Site, http: httpx2.AsyncClient
) -> None:
    body = b'{"type": "error", "error": {"type":"rate_limit_error","message":"slow down"}}'
    site.error = UpstreamError(
        429,
        body,
        {
            "content-type": "application/json",
            "request-id": "req_claudes",
            "anthropic-ratelimit-requests-remaining": "0",
            "retry-after": "7",
            "content-encoding": "gzip",
            "transfer-encoding": "chunked",
            "x-cache": "miss",
        },
    )
    response = await http.post("/v1/fail")
    assert (response.status_code, response.content) == (429, body)
    assert response.headers.get_list("request-id") == ["req_claudes"]
    assert response.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-cache"] == "miss"
    assert "content-encoding" not in response.headers
    assert site.counted == []  # the path has counted what carries `x-cache`


async def test_an_overload_of_ours_looks_like_claudes(site: Site, http: httpx2.AsyncClient) -> None:
    site.error = Overloaded("queue-full")
    response = await http.post("/v1/fail")
    assert (response.status_code, response.headers["retry-after"]) == (529, "1")
    assert response.json()["error"]["type"] == "overloaded_error"


async def test_headers_that_an_error_brings_are_sent(site: Site, http: httpx2.AsyncClient) -> None:
    headers = {"x-cache": "miss", "x-cache-reason": "only-if-cached", "x-should-retry": "false"}
    site.error = NotCached("not stored", headers=headers)
    response = await http.post("/v1/fail")
    assert response.status_code == 404
    assert {name: response.headers[name] for name in headers} == headers
    assert site.counted == []


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/v1/nothing", 404, "not_found_error"),
        ("GET", "/", 404, "not_found_error"),
        ("GET", "/v1/fail", 405, "invalid_request_error"),
        ("DELETE", "/v1/typed", 405, "invalid_request_error"),
    ],
)
async def test_routes_that_are_not_there_are_told_in_the_same_shape(
    http: httpx2.AsyncClient, method: str, path: str, status: int, kind: str
) -> None:
    response = await http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == kind
    assert response.json()["request_id"] == response.headers["request-id"]
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text":"x","ttl_s":"' + SECRET.encode() + b'"}', "ttl_s"),
        (b'{"ttl_s":1}', "text"),
        (b"[]", "body"),
        (b"{", "body"),
    ],
)
async def test_a_field_that_fastapi_refuses_is_named_and_not_repeated(
    http: httpx2.AsyncClient, body: bytes, field: str
) -> None:
    response = await http.post(
        "/v1/typed", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(f"`{field}`: ")
    assert SECRET not in response.text


async def test_a_failure_of_ours_is_logged_by_kind_and_place_only(
    site: Site, http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    site.error = KeyError(SECRET)
    site.error.__cause__ = ValueError(SECRET)
    with caplog.at_level(logging.DEBUG):
        response = await http.post("/v1/fail")
    assert response.json()["error"]["message"] == "internal error"
    assert SECRET not in response.text + caplog.text
    record = next(r for r in caplog.records if "internal error" in r.message)
    assert response.headers["request-id"] in record.message
    assert "KeyError at test_errors.py" in record.message
    assert "ValueError" in record.message


async def test_a_stream_that_fails_is_cut_and_not_ended(
    site: Site, http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    site.error = RuntimeError(SECRET)
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.get("/v1/cut")
    assert SECRET not in caplog.text
    assert site.counted == [500]


async def test_the_official_client_understands_them(site: Site, http: httpx2.AsyncClient) -> None:
    site.app.add_route("/v1/messages", site.fail, methods=["POST"])
    site.error = Unauthenticated("no key")
    client = anthropic.AsyncAnthropic(api_key="x", base_url=str(http.base_url), max_retries=0)
    async with client:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await client.messages.create(
                model="claude-haiku-5-5",
                max_tokens=1,
                messages=[{"role": "user", "content": "hi"}],
            )
    assert (refused.value.request_id or "").startswith("req_")
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
