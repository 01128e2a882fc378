"""Requests built and responses read, shared by both clients. Pure: no network, no clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Unpack
from urllib.parse import quote, urlencode

from cacheserver.client.types import (
    Answer,
    Asked,
    AuthenticationError,
    BadRequestError,
    Decision,
    Erasure,
    NotCachedError,
    NotFoundError,
    Options,
    Purge,
    PutOptions,
    RateLimitError,
    StatusError,
    Stored,
    UnexpectedAnswer,
    UpstreamFailed,
)
from cacheserver.core.types import UNLOOKED
from cacheserver.core.usage import usage_of

# As the anthropic SDK waits: 0.5 s, doubled, at most 8 s, up to a quarter less.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _JITTER = 0.5, 8.0, 0.25
_LONGEST_RETRY_AFTER_S = 60.0  # told to wait longer, the caller should know rather than hang

# Nothing stored may be served, or could not be looked up; Claude was not to be asked.
_NOT_CACHED = ("only-if-cached", *UNLOOKED)

_BY_STATUS: Mapping[int, type[StatusError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    429: RateLimitError,
}
# An error inside a stream comes after status 200: only its type tells.
_BY_TYPE: Mapping[str, type[StatusError]] = {
    "authentication_error": AuthenticationError,
    "permission_error": AuthenticationError,
    "invalid_request_error": BadRequestError,
    "request_too_large": BadRequestError,
    "not_found_error": NotFoundError,
    "rate_limit_error": RateLimitError,
}


@dataclass(frozen=True, slots=True)
class Call:
    """Request without the server's address."""

    method: str
    path: str
    body: bytes | None = None


def question(
    prompt: str | None = None, *, stream: bool = False, **options: Unpack[Options]
) -> Call:
    """Build the call for one question. An option that is not given is not sent."""
    _refuse_unknown("question", options, Options)
    if (prompt is None) == (options.get("messages") is None):
        raise ValueError("give either `prompt` or `messages`")
    fields: dict[str, Any] = {
        "prompt": prompt,
        "model": "auto",
        "cache": "default",
        **options,
        "stream": stream,
    }
    given = {
        name: value if isinstance(value, str | int | float | Mapping) else list(value)
        for name, value in fields.items()
        if value is not None and value is not False
    }
    return _sent("POST", "/v1/query", given)


def get(prompt: str | None = None, **options: Unpack[Asked]) -> Call:
    """Build the call for a look-up, for which Claude is asked nothing at all."""
    _refuse_unknown("look-up", options, Asked)
    return question(prompt, **options, cache="only", levers_off=["verify"])


def put(prompt: str | None, answer: str, **options: Unpack[PutOptions]) -> Call:
    """Build the call that stores an answer."""
    _refuse_unknown("stored answer", options, PutOptions)
    if (prompt is None) == (options.get("messages") is None):
        raise ValueError("give either `prompt` or `messages`")
    fields = {"prompt": prompt, "answer": answer, **options}
    given = {name: value for name, value in fields.items() if value is not None}
    return _sent("PUT", "/v1/entries", given)


def purge(**selector: Unpack[Purge]) -> Call:
    given = _given(selector, Purge)
    if len(given) != 1:
        raise ValueError("give one of `entry_id`, `tag`, `context` and `namespace`")
    return _sent("POST", "/v1/purge", given)


def erase(*, of: str | None = None, **selector: Unpack[Erasure]) -> Call:
    given = _given(selector, Erasure)
    if len(given) != 1 and given.keys() != {"conversation", "namespace"}:
        raise ValueError(
            f"give one of {', '.join(f'`{name}`' for name in Erasure.__annotations__)}"
        )
    path = "/v1/erase" if of is None else f"/admin/v1/tenants/{quote(of, safe='')}/erase"
    return _sent("POST", path, given)


def delete_tenant(name: str, confirm: str) -> Call:
    body = json.dumps({"confirm": confirm}).encode()
    return Call("DELETE", f"/admin/v1/tenants/{quote(name, safe='')}", body)


def stats() -> Call:
    return Call("GET", "/v1/stats")


def usage(
    *,
    start: str | float | None = None,
    end: str | float | None = None,
    group_by: Sequence[str] = (),
    cause: Sequence[str] = (),
    decision: Sequence[str] = (),
    key: str | None = None,
    model: str | None = None,
    tenant: str | None = None,
    target_usd: str | float | None = None,
    wrong_hit_usd: str | float | None = None,
) -> Call:
    """The call for a report. Times are ISO 8601 or Unix seconds."""
    lists = {"group_by": group_by, "cause": cause, "decision": decision}
    controls = {
        "from": start,
        "to": end,
        **{name: ",".join(names) or None for name, names in lists.items()},
        "key": key,
        "model": model,
        "tenant": tenant,
        "target_usd": target_usd,
        "wrong_hit_usd": wrong_hit_usd,
    }
    given = {name: str(value) for name, value in controls.items() if value is not None}
    return Call("GET", "/v1/usage" + (f"?{urlencode(given)}" if given else ""))


def decision(id: str) -> Call:
    return Call("GET", f"/v1/decisions/{quote(id, safe='')}")


def identification(key: str | None, anthropic_key: str | None) -> dict[str, str]:
    """Return the authentication headers. With the caller's own Anthropic key, ours moves aside."""
    if anthropic_key is None:
        return {} if key is None else {"authorization": f"Bearer {key}"}
    ours = {} if key is None else {"x-cacheserver-key": key}
    return {"authorization": f"Bearer {anthropic_key}", **ours}


def pause_s(
    retries: int, status: int | None, headers: Mapping[str, str], jitter: float
) -> float | None:
    """Seconds to wait before trying again; None: do not. `jitter` is random, 0 to 1.

    `retries` counts those made; `status` is None where no answer came.
    """
    should_retry = headers.get("x-should-retry")
    worth_it = status is None or status in (408, 409, 429) or (status >= 500 and status != 508)
    if should_retry == "false" or (should_retry != "true" and not worth_it):
        return None
    after = _retry_after_s(headers)
    if after is not None:
        return after if after <= _LONGEST_RETRY_AFTER_S else None
    return min(_FIRST_PAUSE_S * (1 << retries), _LONGEST_PAUSE_S) * (1 - _JITTER * jitter)


def failure(status: int, headers: Mapping[str, str], body: bytes) -> StatusError | UnexpectedAnswer:
    """Convert an unsuccessful response to an error."""
    shape = _object(body)
    error = None if shape is None else shape.get("error")
    request_id = headers.get("request-id")
    if not isinstance(error, dict) or not 400 <= status < 600:
        if status >= 500:  # a proxy in front of the server words its errors its own way
            return UpstreamFailed(f"status {status}", status=status, request_id=request_id)
        return UnexpectedAnswer(
            f"status {status} and no error in it; is this the address of a cacheserver?",
            status=status,
            request_id=request_id,
        )
    kind = UpstreamFailed if status >= 500 else _BY_STATUS.get(status, BadRequestError)
    reason, again = headers.get("x-cache-reason"), headers.get("x-should-retry")
    if kind is NotFoundError and reason in _NOT_CACHED and again == "false":
        kind = NotCachedError
    return kind(
        str(error.get("message", "")),
        status=status,
        type=str(error.get("type", "")),
        request_id=request_id,
    )


def stream_failure(event: Mapping[str, Any], request_id: str | None) -> StatusError:
    """Convert an `error` event to an error."""
    error = event.get("error")
    error = error if isinstance(error, dict) else {}
    type = str(error.get("type", ""))
    kind = _BY_TYPE.get(type, UpstreamFailed)
    event_id = event.get("request_id")
    return kind(
        str(error.get("message", "")),
        status=200,
        type=type,
        request_id=event_id if isinstance(event_id, str) else request_id,
    )


def read_object(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Read the JSON object of a successful response."""
    found = _object(body)
    if found is None:
        raise UnexpectedAnswer(
            "the answer is no JSON object; is this the address of a cacheserver?",
            status=status,
            request_id=headers.get("request-id"),
        )
    return found


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    found = read_object(status, headers, body)
    shown = found.get("decision")
    if not isinstance(found.get("text"), str) or not isinstance(shown, dict):
        raise UnexpectedAnswer(
            "the answer has no `text` or no `decision`; is the server of this client's version?",
            status=status,
            request_id=headers.get("request-id"),
        )
    return Answer(
        text=found["text"],
        content=tuple(found.get("content") or ()),
        decision=Decision(
            kind=str(shown.get("kind", "")),
            reason=str(shown.get("reason", "")),
            similarity=shown.get("similarity"),
            matched=shown.get("question"),
            age_s=shown.get("age_s"),
            bar=shown.get("bar"),
        ),
        model=str(found.get("model", "")),
        stop_reason=found.get("stop_reason"),
        usage=usage_of(found),
        cost_usd=_usd(found.get("cost_usd")),
        saved_usd=_usd(found.get("saved_usd")),
        batch_eligible=found.get("batch_eligible") is True,
        ttl_s=found.get("ttl_s"),
        entry_id=found.get("entry_id"),
        decision_id=found.get("decision_id") or headers.get("x-cache-decision"),
        request_id=headers.get("request-id"),
        origin=str(found.get("origin") or "claude"),
    )


def read_stored(status: int, headers: Mapping[str, str], body: bytes) -> Stored:
    """Read the outcome of a `put`."""
    found = read_object(status, headers, body)
    return Stored(
        found.get("entry_id"), found.get("ttl_s"), found.get("replaced"), found.get("unstored")
    )


def read_decision(headers: Mapping[str, str]) -> Decision:
    """Read a decision from response headers, which arrive before a stream's body."""
    similarity, age_s = headers.get("x-cache-similarity"), headers.get("x-cache-age")
    return Decision(
        kind=headers.get("x-cache", ""),
        reason=headers.get("x-cache-reason", ""),
        similarity=None if similarity is None else float(similarity),
        age_s=None if age_s is None else int(age_s),
    )


class EventDecoder:
    """Server-sent events out of bytes, however these were cut.

    Only CR and LF end a line: `str.splitlines` would break JSON at U+2028 and its like.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The events that `chunk` completes. Comments and what is no JSON object are left out."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                event = _object(b"\n".join(self._data))
                self._data.clear()
                if event is not None:
                    yield event


def text_of(event: Mapping[str, Any]) -> str:
    """Return the text that an event adds to the answer; empty for all other events."""
    delta = event.get("delta")
    if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
        return ""
    return str(delta.get("text", "")) if delta.get("type") == "text_delta" else ""


def _given(selector: Purge | Erasure, shape: type[Purge | Erasure]) -> dict[str, Any]:
    _refuse_unknown("selector", selector, shape)
    return {name: value for name, value in selector.items() if value is not None}


def _refuse_unknown(what: str, given: Mapping[str, object], shape: type) -> None:
    if unknown := given.keys() - shape.__annotations__.keys():
        raise TypeError(f"a {what} has no {', '.join(map(repr, sorted(unknown)))}")


def _sent(method: str, path: str, body: Mapping[str, Any]) -> Call:
    return Call(method, path, json.dumps(body, allow_nan=False).encode())


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:  # malformed JSON and malformed UTF-8 alike
        return None
    return found if isinstance(found, dict) else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    for name, per_second in (("retry-after-ms", 1_000), ("retry-after", 1)):
        try:
            after = float(headers[name]) / per_second
        except (KeyError, ValueError):  # a date: the server sends none, so its own pause will do
            continue
        if after >= 0:
            return after
    return None


def _usd(found: Any) -> Decimal | None:
    try:
        return None if found is None else Decimal(str(found))
    except InvalidOperation:
        return None
