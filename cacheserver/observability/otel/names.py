"""Attributes of a call to Claude, by the OpenTelemetry conventions for generative AI. Pure.

Names are those of semantic-conventions 1.41 for metrics, and for spans those of the conventions'
own repository, which the Anthropic SDK uses too: `cache_write` is the newer name of
`cache_creation`, and both are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import Usage
from cacheserver.core.usage import prompt_tokens

Value: TypeAlias = str | int | float | bool | tuple[str, ...]

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TOKEN_TYPE: Final = "gen_ai.token.type"
ERROR: Final = "error.type"
OTHER: Final = "_OTHER"  # the conventions' word for what is none of the known

# Boundaries the conventions ask for.
TOKENS: Final = tuple(float(4**power) for power in range(14))
SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
HTTP_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)

_PORTS: Final = {"http": 80, "https": 443}

# A name as Anthropic and gateways have them. What is none may be a sentence.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/\[\]-]{0,99}")

_WORD = re.compile(r"[a-z_]{1,40}")  # stop reasons and kinds of errors

# Segments of Claude's API; what else a path holds is somebody's id.
_SEGMENTS = frozenset(
    {"", "v1", "messages", "batches", "count_tokens", "models", "results", "cancel"}
)


def name(value: object) -> str:
    """A model's name, or `_OTHER`."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else OTHER


def word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else OTHER


def request_attributes(body: Mapping[str, Any], *, stream: bool) -> dict[str, Value]:
    """Return the attributes of a request before it is sent: figures, no text."""
    attributes: dict[str, Value] = {
        OPERATION: "chat",
        PROVIDER: "anthropic",
        REQUEST_MODEL: name(body.get("model")),
    }
    if stream:
        attributes["gen_ai.request.stream"] = True
    for field in ("max_tokens", "temperature", "top_p", "top_k"):
        value = body.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            attributes[f"gen_ai.request.{field}"] = value
    return attributes


def response_attributes(message: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes of an answer: its id, model and stop reason."""
    attributes: dict[str, Value] = {}
    if message.get("model") is not None:
        attributes[RESPONSE_MODEL] = name(message["model"])
    if isinstance(message.get("id"), str):
        attributes["gen_ai.response.id"] = name(message["id"])
    if message.get("stop_reason") is not None:
        attributes["gen_ai.response.finish_reasons"] = (word(message["stop_reason"]),)
    return attributes


def used(usage: Usage) -> dict[str, Value]:
    """Tokens. By the conventions the input has all of the prompt, what was cached included."""
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return {
        "gen_ai.usage.input_tokens": prompt_tokens(usage),
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": written,
        "gen_ai.usage.cache_creation.input_tokens": written,
    }


def failed(error: BaseException) -> str:
    """The class of an error: Claude's own word for it, or its status."""
    if not isinstance(error, UpstreamError):
        return type(error).__name__
    try:
        body = json_text.loads(error.body)
        kind = word(body["error"]["type"])
    except (ValueError, LookupError, TypeError):
        kind = OTHER
    return str(error.status) if kind == OTHER else kind


def route(path: str) -> str:
    """A path of Claude's API as a template: `/v1/messages/batches/{id}`."""
    return "/".join(part if part in _SEGMENTS else "{id}" for part in path.split("/"))


def server(base_url: str) -> dict[str, Value]:
    """Return the attributes of Claude's server, without other parts of its URL."""
    at = urlsplit(base_url)
    port = at.port or _PORTS.get(at.scheme)
    return {"server.address": at.hostname or "", **({} if port is None else {"server.port": port})}


class Names:
    """The models that Claude has answered with: those alone are told apart in sums.

    What a caller asked for and nobody answered is `_OTHER`, or anyone could make series.
    """

    def __init__(self, most: int = 50) -> None:
        self._most = most
        self._models: set[str] = set()

    def learn(self, *models: str) -> None:
        for model in models:
            if len(self._models) < self._most:
                self._models.add(model)

    def label(self, model: str) -> str:
        return model if model in self._models else OTHER
