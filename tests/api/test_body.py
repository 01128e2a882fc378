"""What of a body is taken: its size, and what JSON means."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cacheserver.api import errors
from cacheserver.api.body import MAX_DEPTH, parse, read_body
from cacheserver.core.errors import BadRequest
from tests.house import serving

LIMIT = 100_000

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)
)
bodies = st.dictionaries(st.sampled_from(["model", "a", "b", "é"]), values)


@given(bodies, st.booleans(), st.sampled_from([None, (",", ":"), (" , ", " : ")]))
def test_json_is_read_as_it_was_meant_however_it_is_written(
    body: dict[str, Any], ascii_only: bool, separators: tuple[str, str] | None
) -> None:
    raw = json.dumps(body, ensure_ascii=ascii_only, separators=separators).encode()
    found = parse(raw)
    assert found == body
    assert repr(found) == repr(json.loads(raw))  # 1 is not 1.0, nor 2**64 a float


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "not valid JSON"),
        (b'{"a":1}x', "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":Infinity}', "not valid JSON"),
        (b'{"a":-Infinity}', "not valid JSON"),
        (b'{"a":1e400}', "not valid JSON"),
        (b'{"a":' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b'{"a":"\xed\xa0\x80"}', "not valid JSON"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        ('{"a":1}'.encode("utf-16"), "not valid JSON"),
        (b'{"a":' + b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "nested more than 200"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested more than 200"),
    ],
)
def test_what_is_not_strict_json_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        parse(raw)
    assert refused.value.field == "body"


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","model":"a"}', "model"),
        (b'{"a":[{"x":1,"y":2,"x":3}]}', "x"),
        (b'{"mod\\u0065l":"a","model":"b"}', "model"),
        (b'{"a":{"":1,"":1}}', ""),
    ],
)
def test_a_key_that_is_there_twice_is_named(raw: bytes, key: str) -> None:
    with pytest.raises(BadRequest, match="twice") as refused:
        parse(raw)
    assert refused.value.field == key


@given(bodies, st.sampled_from(["model", "a", "b"]), scalars)
def test_a_repeated_key_never_gets_through(body: dict[str, Any], key: str, value: object) -> None:
    raw = orjson.dumps({**dict.fromkeys(body, 1), key: 1})
    twice = raw[:-1] + b"," + orjson.dumps(key) + b":" + json.dumps(value).encode() + b"}"
    with pytest.raises(BadRequest) as refused:
        parse(twice)
    assert refused.value.field == key


def test_the_deepest_body_that_is_taken_can_be_written_again_inside_others() -> None:
    deepest: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deepest = [deepest]
    raw = orjson.dumps({"a": deepest})
    assert orjson.dumps({"x": {"y": [parse(raw)]}})
    with pytest.raises(BadRequest, match="nested"):
        parse(orjson.dumps({"a": [deepest]}))


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    errors.install(app)

    async def size(request: Request) -> Response:
        return JSONResponse(len(await read_body(request, LIMIT)))

    app.add_route("/size", size, methods=["POST"])
    async with serving(app) as url, httpx2.AsyncClient(base_url=url) as client:
        yield client


async def chunks(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, 10_000):
        yield b"x" * min(10_000, size - start)


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
async def test_a_body_within_the_limit_is_read_whole(http: httpx2.AsyncClient, size: int) -> None:
    assert (await http.post("/size", content=b"x" * size)).json() == size
    assert (await http.post("/size", content=chunks(size))).json() == size


async def test_a_body_that_is_announced_too_large_is_refused(http: httpx2.AsyncClient) -> None:
    refused = await http.post("/size", content=b"x" * (LIMIT + 1))
    assert refused.status_code == 413
    assert refused.json()["error"]["type"] == "request_too_large"


async def test_a_body_without_a_length_is_refused_at_the_limit(http: httpx2.AsyncClient) -> None:
    refused = await http.post("/size", content=chunks(LIMIT + 1))
    assert refused.status_code == 413
    assert refused.headers["connection"] == "close"
