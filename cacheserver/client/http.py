"""Requests built and responses read, shared by both clients. Pure: no network, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, Unpack
from urllib.parse import urlencode

from cacheserver.client.calls import Call as Call
from cacheserver.client.calls import check, path, refuse_strings, sent
from cacheserver.client.failures import json_object, unexpected
from cacheserver.client.types import (
    Answer,
    Asked,
    Candidate,
    ConnectionFailed,
    Decision,
    Erasure,
    Job,
    Options,
    Purge,
    PutOptions,
    Stored,
    UnexpectedAnswer,
)
from cacheserver.core.usage import usage_of

# As the anthropic SDK waits: 0.5 s, doubled, at most 8 s, up to a quarter less.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _JITTER = 0.5, 8.0, 0.25
_LONGEST_RETRY_AFTER_S = 60.0  # told to wait longer, the caller should know rather than hang

LIVE: Final = Call("GET", "/admin/v1/live")


def question(
    prompt: str | None = None, *, stream: bool = False, **options: Unpack[Options]
) -> Call:
    """Build the call for one question. An option that is not given is not sent."""
    check("stream" if stream else "query", options, Options)
    _refuse_two_questions(prompt, options)
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
    return sent("POST", "/v1/query", given)


def get(prompt: str | None = None, **options: Unpack[Asked]) -> Call:
    """Build the call for a look-up, for which Claude is asked nothing at all."""
    check("get", options, Asked)
    return question(prompt, **options, cache="only", levers_off=["verify"])


def put(prompt: str | None, answer: str, **options: Unpack[PutOptions]) -> Call:
    """Build the call that stores an answer."""
    check("put", options, PutOptions)
    _refuse_two_questions(prompt, options)
    fields = {"prompt": prompt, "answer": answer, **options}
    given = {name: value for name, value in fields.items() if value is not None}
    return sent("PUT", "/v1/entries", given)


def later(
    prompt: str | None,
    *,
    when: Literal["now", "batch"] | None,
    deadline: float | str | None,
    webhook: str | None,
    **options: Unpack[Options],
) -> Call:
    """Build the call for a question that may wait."""
    check("jobs.create", options, Options)
    _refuse_two_questions(prompt, options)
    fields = {"prompt": prompt, "when": when, "deadline": deadline, "webhook": webhook, **options}
    given = {name: value for name, value in fields.items() if value is not None}
    return sent("POST", "/v1/jobs", given, again=False)


def purge(**selector: Unpack[Purge]) -> Call:
    """Build the call for a purge."""
    given = _given("purge", selector, Purge)
    if len(given) != 1:
        raise ValueError("give one of `entry_id`, `tag`, `context` and `namespace`")
    return sent("POST", "/v1/purge", given)


def erase(*, of: str | None = None, **selector: Unpack[Erasure]) -> Call:
    """Build the call for an erasure; `of` is the tenant whose it is, for an admin."""
    given = _given("erase", selector, Erasure)
    if len(given) != 1 and given.keys() != {"conversation", "namespace"}:
        raise ValueError(
            f"give one of {', '.join(f'`{name}`' for name in Erasure.__annotations__)}"
        )
    where = "/v1/erase" if of is None else path("/admin/v1/tenants", of, "erase")
    return sent("POST", where, given)


def delete_tenant(name: str, confirm: str) -> Call:
    """Build the call that deletes a tenant."""
    return sent("DELETE", path("/admin/v1/tenants", name), {"confirm": confirm})


def stats() -> Call:
    """Build the call for the counts of a tenant."""
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
    refuse_strings(lists)
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


def live_ended() -> ConnectionFailed:
    """Return the error of a stream of counts that has ended, which it never does by itself."""
    return ConnectionFailed("the server ended the stream: it stopped, or was restarted", begun=True)


def identification(key: str | None, anthropic_key: str | None) -> dict[str, str]:
    """Return the authentication headers. With the caller's own Anthropic key, ours moves aside.

    Raises `ValueError` for a key that no header can carry.
    """
    for name, value in (("key", key), ("anthropic_key", anthropic_key)):
        if value is not None:
            _refuse_bad_key(name, value)
    if anthropic_key is None:
        return {} if key is None else {"authorization": f"Bearer {key}"}
    ours = {} if key is None else {"x-cacheserver-key": key}
    return {"authorization": f"Bearer {anthropic_key}", **ours}


def pause_s(
    retries: int,
    status: int | None,
    headers: Mapping[str, str],
    jitter: float,
    *,
    again: bool = True,
) -> float | None:
    """Seconds to wait before trying again; None: do not. `jitter` is random, 0 to 1.

    `retries` counts those made; `status` is None where no answer came. `again` False: the call may
    have been carried out, and must not be twice.
    """
    should_retry = headers.get("x-should-retry")
    if not again and should_retry != "true" and (status is None or status >= 500):
        return None
    worth_it = status is None or status in (408, 409, 429) or (status >= 500 and status != 508)
    if should_retry == "false" or (should_retry != "true" and not worth_it):
        return None
    after = _retry_after_s(headers)
    if after is not None:
        return after if after <= _LONGEST_RETRY_AFTER_S else None
    return min(_FIRST_PAUSE_S * (1 << retries), _LONGEST_PAUSE_S) * (1 - _JITTER * jitter)


def read_object(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Read the JSON object of a successful response; a list is its `items`."""
    found = json_object(body)
    if found is None:
        raise unexpected(status, headers, body)
    return found


def read_text(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Read a successful response that is no JSON object."""
    return body.decode(errors="replace")


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Read the answer to a question."""
    found = read_object(status, headers, body)
    shown = found.get("decision")
    if not isinstance(found.get("text"), str) or not isinstance(shown, dict):
        raise UnexpectedAnswer(
            "the answer has no `text` or no `decision`: what answers at this URL is no "
            "cacheserver, or a much older one",
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
            probability=shown.get("probability"),
            target=shown.get("target"),
            veto=shown.get("veto"),
            candidates=tuple(map(_candidate, shown.get("candidates") or ())),
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


def read_job(status: int, headers: Mapping[str, str], body: bytes) -> Job:
    """Read a job."""
    return job(read_object(status, headers, body))


def job(found: Mapping[str, Any]) -> Job:
    """Return the job that an object of the API describes."""
    return Job(
        id=str(found.get("id", "")),
        kind=str(found.get("kind", "")),
        status=str(found.get("status", "")),
        total=int(found.get("total") or 0),
        done=int(found.get("done") or 0),
        created_at=float(found.get("created_at") or 0),
        deadline=found.get("deadline"),
        ended_at=found.get("ended_at"),
        counts=dict(found.get("counts") or {}),
        webhook=found.get("webhook"),
        result=found.get("result"),
    )


def read_decision(headers: Mapping[str, str]) -> Decision:
    """Read a decision from response headers, which arrive before a stream's body."""
    similarity, age_s = headers.get("x-cache-similarity"), headers.get("x-cache-age")
    probability = headers.get("x-cache-probability")
    return Decision(
        kind=headers.get("x-cache", ""),
        reason=headers.get("x-cache-reason", ""),
        similarity=None if similarity is None else float(similarity),
        age_s=None if age_s is None else int(age_s),
        probability=None if probability is None else float(probability),
        veto=headers.get("x-cache-veto"),
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
                event = json_object(b"\n".join(self._data))
                self._data.clear()
                if event is not None:
                    yield event


def text_of(event: Mapping[str, Any]) -> str:
    """Return the text that an event adds to the answer; empty for all other events."""
    delta = event.get("delta")
    if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
        return ""
    return str(delta.get("text", "")) if delta.get("type") == "text_delta" else ""


def _candidate(shown: Mapping[str, Any]) -> Candidate:
    return Candidate(
        entry_id=str(shown.get("entry", "")),
        question=shown.get("question"),
        similarity=float(shown.get("similarity") or 0),
        probability=shown.get("probability"),
        veto=shown.get("veto"),
        supported=shown.get("supported"),
        age_s=shown.get("age_s"),
    )


def _given(method: str, selector: Purge | Erasure, shape: type[Purge | Erasure]) -> dict[str, Any]:
    check(method, selector, shape)
    return {name: value for name, value in selector.items() if value is not None}


def _refuse_two_questions(prompt: str | None, options: Mapping[str, object]) -> None:
    if (prompt is None) == (options.get("messages") is None):
        raise ValueError("give either `prompt` or `messages`")


def _refuse_bad_key(name: str, value: str) -> None:
    if not value or value != value.strip():
        raise ValueError(
            f"`{name}` is empty, or has a line break or a blank at an end: strip it"
            + ("" if value else "; None: there is none")
        )
    for char in value:
        if not "!" <= char <= "~":
            raise ValueError(f"`{name}` has a character that no key has, {char!r}: copy it again")


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
