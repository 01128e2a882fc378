"""The embeddings endpoint: what is sent, what is believed, and what its failures cost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from cacheserver.embedding.endpoint import PROBE_TEXT, Endpoint, EndpointEmbedder
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import EmbedderFailed, ModelChanged, Refused, TooLong, Unknown
from cacheserver.index.models import Vectors
from tests.embedding.servers import Server, saying, serving, shaped

DIM = 32
KEY = "sk-embeddings-secret"


class Seconds:
    """Monotonic time, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(shaped(DIM)) as running:
        yield running


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


Open = Callable[..., EndpointEmbedder]


@pytest.fixture
def embedder(server: Server, seconds: Seconds) -> Iterator[Open]:
    """Return a function that opens an embedder at `server`; all are closed."""
    with ExitStack() as stack:

        def open(*, probe: Vectors | None = None, **options: Any) -> EndpointEmbedder:
            endpoint = Endpoint(**{"url": server.url, "timeout_s": 10.0, **options})
            scripts = ("LATIN", "CYRILLIC", "CJK", "KATAKANA")
            made = EndpointEmbedder(
                endpoint, dim=DIM, scripts=scripts, monotonic=seconds, probe=probe
            )
            stack.callback(made.close)
            return made

        yield open


def test_texts_become_unit_rows_in_their_places(server: Server, embedder: Open) -> None:
    texts = [f"question number {i}" for i in range(70)]
    made = embedder().embed(texts)
    assert made.shape == (70, DIM)
    assert np.linalg.norm(made, axis=1) == pytest.approx(1.0, abs=1e-5)
    alone = np.concatenate([embedder().embed([text]) for text in texts[60:]])
    assert np.sum(made[60:] * alone, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert [len(body["input"]) for _, _, body in server.requests[:2]] == [64, 6]


def test_the_request_has_openais_shape_the_prefix_and_the_key(
    server: Server, embedder: Open
) -> None:
    embedder(model="e5", key=KEY, prefix="query: ").embed(["hello you"])
    path, headers, body = server.requests[0]
    assert (path, headers["authorization"]) == ("/v1/embeddings", f"Bearer {KEY}")
    assert body == {"model": "e5", "input": ["query: hello you"]}


@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/v1/embeddings"), ("/v1", "/v1/embeddings"), ("/api/embeddings", "/api/embeddings")],
)
def test_the_url_may_be_the_server_its_version_or_the_whole(path: str, asked: str) -> None:
    assert Endpoint(f"http://127.0.0.1{path}").address == f"http://127.0.0.1{asked}"


def test_the_id_names_the_model_and_hides_the_key() -> None:
    one = Endpoint("http://gpu:8080", model="bge-m3", key=KEY)
    assert one.id.startswith("endpoint:bge-m3:")
    assert one.id == Endpoint("http://gpu:8080", model="bge-m3", key="another").id
    others = (
        Endpoint("http://gpu:8081", model="bge-m3"),
        Endpoint("http://gpu:8080", model="e5"),
        Endpoint("http://gpu:8080", model="bge-m3", prefix="query: "),
    )
    assert len({one.id, *(other.id for other in others)}) == 4


NAN = float("nan")


@pytest.mark.parametrize(
    "reply",
    [
        saying({"error": {"message": "no"}}, 500),
        saying({}, 404),
        saying({"data": []}),
        saying({"data": [{"index": 0, "embedding": [0.0] * DIM}]}),
        saying({"data": [{"index": 0, "embedding": [NAN] * DIM}]}),
        saying({"data": [{"index": 0, "embedding": [1e39] * DIM}]}),
        saying({"data": [{"index": 0, "embedding": [1.0] * (DIM + 1)}]}),
        saying({"data": [{"index": 1, "embedding": [1.0] * DIM}]}),
        saying({"data": [{"index": 0, "embedding": [1.0] * DIM}] * 2}),
        saying({"data": [{"index": 0, "embedding": "AAAA"}]}),
        saying({"data": {"index": 0}}),
        saying([1]),
        saying(b"not json"),
        saying(b""),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_reply_that_is_not_one_good_vector_for_each_text_is_a_failure(
    server: Server, embedder: Open, reply: Any
) -> None:
    server.reply = reply
    with pytest.raises(EmbedderFailed) as failed:
        embedder().embed(["my secret question"])
    assert "secret" not in str(failed.value)


def test_a_redirect_is_not_followed(server: Server, embedder: Open) -> None:
    with serving(shaped(DIM)) as elsewhere:
        server.reply = saying({}, 307, location=f"{elsewhere.url}/v1/embeddings")
        with pytest.raises(EmbedderFailed, match="307"):
            embedder(key=KEY).embed(["a question"])
        assert elsewhere.requests == []


def test_a_slow_endpoint_is_given_up_after_the_limit(server: Server, embedder: Open) -> None:
    release = threading.Event()

    def slow(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        release.wait(20)
        return shaped(DIM)(body)

    server.reply = slow
    try:
        with pytest.raises(EmbedderFailed, match="too slow"):
            embedder(timeout_s=0.05).embed(["a question"])
    finally:
        release.set()


def test_the_limit_is_for_all_of_a_reply_that_comes_in_drops(embedder: Open) -> None:
    """Each byte comes in time, and the last never: limits of single steps would wait for ever."""
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(2_000):
                peer.sendall(b"x-more: 1\r\n")
                if ended.wait(0.01):
                    break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        model = embedder(url=url, timeout_s=0.1)
        try:
            with pytest.raises(EmbedderFailed, match="too slow"):
                model.embed(["a question"])
            assert thread.is_alive()
        finally:
            ended.set()
            thread.join()


REFUSED = "too odd for the model"
SMILE = "\N{GRINNING FACE}"


def refusing(status: int, *, when: Callable[[str], bool] = lambda text: REFUSED in text) -> Any:
    """Reply with vectors, but with `status` to a call in which a text is refused."""

    def reply(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        if any(map(when, body["input"])):
            return status, b"{}", {}
        return shaped(DIM)(body)

    return reply


@pytest.mark.parametrize("status", [400, 413, 422, 500])
async def test_a_refused_text_fails_alone_and_does_not_close_the_endpoint(
    server: Server, embedder: Open, status: int
) -> None:
    server.reply = refusing(status)
    async with Batcher(embedder(), max_batch=16, memo=0) as batcher:
        for turn in range(5):  # more than the failures that make it rest
            texts = [f"question {n}" for n in range(15)] + [f"{REFUSED} {turn}"]
            made = await asyncio.gather(*map(batcher.embed, texts), return_exceptions=True)
            assert [type(one) for one in made] == [np.ndarray] * 15 + [Refused]
        # A text alone, 15 others, twice 4 halves on the way to one, and a plain text.
        assert len(server.requests) <= 5 * (1 + 1 + 2 * 4 + 1)
        before = len(server.requests)
        with pytest.raises(Refused):
            await batcher.embed(f"{REFUSED} 0")
        assert len(server.requests) == before  # remembered


async def test_texts_that_are_not_sent_cost_the_others_no_further_call(
    server: Server, embedder: Open
) -> None:
    async with Batcher(embedder(), max_batch=16) as batcher:
        texts = ["alone", *(f"question {n}{SMILE * (n % 2)}" for n in range(16))]
        made = await asyncio.gather(*map(batcher.embed, texts), return_exceptions=True)
    kinds = [type(one) for one in made]
    assert kinds == [Unknown if SMILE in text else np.ndarray for text in texts]
    assert len(server.requests) == 2


async def test_calls_are_bounded_where_every_text_is_refused(
    server: Server, embedder: Open
) -> None:
    server.reply = refusing(400)
    async with Batcher(embedder(), max_batch=16) as batcher:
        texts = [f"{REFUSED} {n}" for n in range(17)]
        made = await asyncio.gather(*map(batcher.embed, texts), return_exceptions=True)
        assert {type(one) for one in made} == {Refused}
    assert len(server.requests) <= 2 + 31 + 16  # 16 in halves, and a plain text for each


async def test_an_endpoint_that_refuses_everything_has_failed(
    server: Server, embedder: Open
) -> None:
    server.reply = saying({"error": "no such model"}, 400)
    async with Batcher(embedder(), max_batch=16) as batcher:
        texts = [f"question {n}" for n in range(17)]
        made = await asyncio.gather(*map(batcher.embed, texts), return_exceptions=True)
    assert {type(one) for one in made} == {EmbedderFailed}
    assert len(server.requests) <= 16  # then it is left alone


def test_a_refused_text_is_sent_again_after_a_while(
    server: Server, seconds: Seconds, embedder: Open
) -> None:
    server.reply = refusing(413)
    model = embedder()
    with pytest.raises(Refused):
        model.embed([REFUSED])
    server.reply = shaped(DIM)
    with pytest.raises(Refused):
        model.embed([REFUSED])
    seconds.now += 601
    assert model.embed([REFUSED]).shape == (1, DIM)


def test_after_three_failures_it_is_left_alone_for_a_while(
    server: Server, seconds: Seconds, embedder: Open
) -> None:
    server.reply = saying({}, 503)
    model = embedder()
    for _ in range(5):
        with pytest.raises(EmbedderFailed):
            model.embed(["a question"])
    assert len(server.requests) == 3
    seconds.now += 6
    server.reply = shaped(DIM)
    assert model.embed(["a question"]).shape == (1, DIM)


def test_what_the_model_might_cut_or_not_tell_apart_is_not_sent(
    server: Server, embedder: Open
) -> None:
    model = embedder(max_bytes=40, prefix="q: ")
    model.embed(["x" * 37, "Сколько?", "パスポート 々", "3 € — ¿sí?"])
    for text, why in (
        ("x" * 38, TooLong),
        ("㍍" * 4, TooLong),  # 12 bytes, and 48 in NFKC
        ("ш" * 19, TooLong),
        ("smile \N{GRINNING FACE}", Unknown),
        ("कितने", Unknown),
        ("  ", Unknown),
    ):
        with pytest.raises(why):
            model.embed([text])
    assert len(server.requests) == 1


@pytest.mark.parametrize("stranger", [shaped(DIM, "other"), shaped(DIM + 1)])
def test_another_model_behind_the_address_gives_no_vector_until_the_right_one_is_back(
    server: Server, seconds: Seconds, embedder: Open, stranger: Any
) -> None:
    (probe,) = embedder().embed([PROBE_TEXT])
    checked = embedder(probe=probe)
    assert checked.embed(["one", "two"]).shape == (2, DIM)
    assert server.requests[-1][2]["input"] == [PROBE_TEXT, "one", "two"]
    server.reply = stranger
    for _ in range(3):
        with pytest.raises(ModelChanged):
            checked.embed(["three"])
    assert checked.changed is not None
    server.reply = shaped(DIM)
    with pytest.raises(EmbedderFailed, match="left alone"):
        checked.embed(["three"])
    assert checked.changed is not None
    seconds.now += 60
    assert checked.embed(["three"]).shape == (1, DIM)
    assert checked.changed is None
