"""Embeddings endpoint in OpenAI's shape: TEI, vLLM, Ollama, Voyage and others.

Rule: texts are the operator's callers' words, so they go to the configured URL and nowhere else: no
redirect is followed. A reply is believed only if it has one finite vector of the known dimension
for each text. Each call asks for the vector of one known text too, so that no vector of another
model is ever used. After some failures in a row the endpoint is left alone for a while; a text that
it refuses, while it takes others, is that text's matter and no failure.
"""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from cacheserver.core import json_text
from cacheserver.embedding.limited_client import LimitedClient, ReplyTooLarge
from cacheserver.index.errors import (
    EmbedderFailed,
    ModelChanged,
    Refused,
    TooLong,
    Unknown,
    Unreadable,
)
from cacheserver.index.models import Vectors, prefix_mark
from cacheserver.index.probe import difference
from cacheserver.index.text_size import most_pieces

logger = logging.getLogger(__name__)

BATCH = 64  # texts a call
PROBE_TEXT = "What does the red bread cost?"
_RESTS_AFTER = 3  # failures in a row; one may be an accident
_RESTS_S = 5.0  # then no call: each would cost a request the whole time limit
# A number takes some 20 bytes as JSON, and 4,096 dimensions are the most in use.
_MOST_REPLY = BATCH * 4_096 * 32
_MOST_DIM = 16_384
_NAME = re.compile("[ -]")
# What servers answer to a text that is too long or strange: OpenAI, vLLM and Voyage 400, TEI 413,
# 422 and 424, Ollama 500. Whether it was the text, the probe's tells.
_REFUSALS = frozenset({400, 413, 422, 424, 500})
_REFUSED_S = 600.0  # a refused text is not sent again so long: every try costs several calls
_MOST_REFUSED = 10_000  # 100 bytes each


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of the endpoint and how to ask it. The key is not part of its identity."""

    url: str
    model: str | None = None
    key: str | None = None
    prefix: str = ""
    timeout_s: float = 0.5
    max_bytes: int = 509

    @property
    def id(self) -> str:
        """Return the id of the embedder. Nobody says which weights answer, so URL and model do."""
        name = self.model or urlsplit(self.url).hostname or ""
        digest = hashlib.sha256(f"{self.address}\n{self.model or ''}".encode()).hexdigest()[:12]
        return f"endpoint:{name}:{digest}{prefix_mark(self.prefix)}"

    @property
    def address(self) -> str:
        path = urlsplit(self.url).path
        if path.endswith("/embeddings"):
            return self.url
        return f"{self.url}/embeddings" if path else f"{self.url}/v1/embeddings"


class EndpointEmbedder:
    """Embedder behind an endpoint. Called by one thread at a time.

    `scripts` are the writing systems that the model tells apart; other letters are `Unknown`.
    `probe` is the model's vector of `PROBE_TEXT`; None: calls are not checked.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        dim: int,
        scripts: Collection[str],
        monotonic: Callable[[], float],
        probe: Vectors | None = None,
    ) -> None:
        self.id = endpoint.id
        self.changed: str | None = None  # how the model differs, at the last call
        self._probe = probe
        self.dim = dim
        self._endpoint = endpoint
        self._scripts = frozenset(scripts)
        self._client = new_client(endpoint)
        self._monotonic = monotonic
        self._failures = 0
        self._rests_until = 0.0
        self._refused: OrderedDict[bytes, float] = OrderedDict()  # digest -> until when

    def close(self) -> None:
        self._client.close()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a unit row per text. `Refused` of several: one of them is; ask for fewer."""
        for at, text in enumerate(texts):
            try:
                self._check(text)
            except Unreadable as unreadable:
                unreadable.at = at
                raise
        if not texts:
            return np.empty((0, self.dim), np.float32)
        if self._monotonic() < self._rests_until:
            raise EmbedderFailed("the endpoint failed several times and is left alone")
        try:
            vectors = self._asked(texts)
        except EmbedderFailed:
            self._failures += 1
            if self._failures >= _RESTS_AFTER:
                self._rests_until = self._monotonic() + _RESTS_S
            raise
        self._failures = 0
        return vectors

    def _asked(self, texts: Sequence[str]) -> Vectors:
        parts = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        try:
            vectors: Vectors = np.concatenate([self._ask(part) for part in parts])
        except Refused:
            if len(texts) == 1:
                self._note_refusal(texts[0])
            raise
        if vectors.shape[1] != self.dim:
            raise EmbedderFailed(
                f"the endpoint answers with {vectors.shape[1]} dimensions, not {self.dim}"
            )
        return vectors

    def _ask(self, texts: Sequence[str]) -> Vectors:
        """Ask with the probe's text in front: the reply itself tells which model made it."""
        if self._probe is None:
            return ask(self._client, self._endpoint, texts)
        made = ask(self._client, self._endpoint, [PROBE_TEXT, *texts])
        before, self.changed = self.changed, difference(made[0], self._probe)
        if self.changed is None:
            if before is not None:
                logger.warning("the embeddings endpoint answers as before again")
            return made[1:]
        if before is None:
            logger.error("another model is behind the embeddings endpoint: it %s", self.changed)
        raise ModelChanged(f"the endpoint {self.changed}")

    def _note_refusal(self, text: str) -> None:
        """Remember that a text was refused. Raises `EmbedderFailed` if a plain one is, too."""
        try:
            self._ask([PROBE_TEXT])
        except Refused as refused:
            raise EmbedderFailed(f"{refused}, and to every other") from refused
        self._refused[_digest(text)] = self._monotonic() + _REFUSED_S
        if len(self._refused) > _MOST_REFUSED:
            self._refused.popitem(last=False)

    def _check(self, text: str) -> None:
        """Raise `Unreadable` for a text that the endpoint might cut, or see only in part."""
        most = self._endpoint.max_bytes
        if len(text) > most or most_pieces(self._endpoint.prefix + text) > most:
            raise TooLong(f"the text has more than {most} bytes, perhaps once normalised")
        if not text.strip():
            raise Unknown("the text is blank")
        if any(not self._reads(char) for char in set(text) if char >= "\x80"):
            raise Unknown("the text has signs that the embedder may not tell apart")
        if self._monotonic() < self._refused.get(_digest(text), 0.0):
            raise Refused("the endpoint refused the text before")

    def _reads(self, char: str) -> bool:
        category = unicodedata.category(char)
        if category[0] == "L":
            return script_of(char) in self._scripts
        return category[0] in "MNPZ" or category == "Sc"  # no emoji: many models know none


def script_of(letter: str) -> str:
    """Return the writing system of a letter, by the first word of its name: "LATIN", "CJK"."""
    first = _NAME.split(unicodedata.name(letter, ""), maxsplit=1)[0]
    return "CJK" if first == "IDEOGRAPHIC" else first


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def new_client(endpoint: Endpoint) -> LimitedClient:
    return LimitedClient({"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})


def ask(client: LimitedClient, endpoint: Endpoint, texts: Sequence[str]) -> Vectors:
    """Return a unit row per text. Raises `EmbedderFailed` and `Refused`, without text or reply."""
    body: dict[str, Any] = {"input": [endpoint.prefix + text for text in texts]}
    if endpoint.model is not None:
        body["model"] = endpoint.model
    try:
        reply = client.post(
            endpoint.address, body, limit_s=endpoint.timeout_s, most_bytes=_MOST_REPLY
        )
    except (TimeoutError, ReplyTooLarge) as error:
        raise EmbedderFailed("the endpoint's reply is too slow or too large") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError) as error:
        # `ValueError`: a host's name that is none.
        raise EmbedderFailed(f"the endpoint did not answer: {type(error).__name__}") from error
    if reply.status in _REFUSALS:
        raise Refused(f"the endpoint answered {reply.status} to a text")
    if reply.status != 200:
        raise EmbedderFailed(f"the endpoint answered {reply.status}")
    return _vectors(reply.body, len(texts))


def _vectors(reply: bytes, count: int) -> Vectors:
    try:
        rows = json_text.loads(reply)["data"]
        by_index = {row["index"]: row["embedding"] for row in rows}
        listed = [by_index[index] for index in range(count)]
        vectors = np.array(listed, np.float32)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise EmbedderFailed("the endpoint's reply is not in OpenAI's shape") from error
    if len(rows) != count or vectors.ndim != 2 or not 1 <= vectors.shape[1] <= _MOST_DIM:
        raise EmbedderFailed("the endpoint's reply has not one vector for each text")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 1e-6):
        raise Refused("the endpoint gave a vector without a direction")
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit
