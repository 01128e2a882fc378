"""Embeddings of a replay: a failing endpoint is asked again, and then ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cacheserver.analysis.replay.vectors import Embedding
from cacheserver.embedding.endpoint import Endpoint, EndpointEmbedder
from cacheserver.index.errors import EmbedderFailed
from tests.embedding.servers import Server, saying, serving, shaped

DIM = 32


@contextmanager
def embedding(server: Server, *pauses_s: float) -> Iterator[Embedding]:
    endpoint = Endpoint(server.url, timeout_s=10)
    embedder = EndpointEmbedder(endpoint, dim=DIM, scripts=("LATIN",), monotonic=time.monotonic)
    opened = Embedding(embedder, pauses_s=pauses_s)
    try:
        yield opened
    finally:
        opened.close()
        embedder.close()


def failing(times: int) -> Any:
    replies = iter([saying({}, 503)] * times)
    return lambda body: next(replies, shaped(DIM))(body)


def test_an_endpoint_that_fails_for_a_while_is_asked_again() -> None:
    with serving(failing(2)) as server, embedding(server, 0, 0) as opened:
        vector = opened.get("What is new?")
        assert vector is not None
        assert vector.shape == (DIM,)
        assert len(server.requests) == 3


def test_an_endpoint_that_stays_away_ends_the_replay() -> None:
    with serving(saying({}, 503)) as server, embedding(server, 0) as opened:
        with pytest.raises(EmbedderFailed, match="503"):
            opened.get("What is new?")
        assert len(server.requests) == 2


def test_closing_waits_for_no_further_try() -> None:
    asked = threading.Event()

    def reply(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        asked.set()
        return saying({}, 503)(body)

    with serving(reply) as server, embedding(server, 3_600) as opened:
        opened.ahead("What is new?")
        assert asked.wait(20)
