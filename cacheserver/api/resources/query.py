"""`/v1/query`: a plain question, and an answer that explains itself.

It is translated to a Messages body, so it shares its entries with `/v1/messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.responses import Response

from cacheserver.api import dependencies, errors
from cacheserver.api.components import Components
from cacheserver.api.disconnects import while_there
from cacheserver.api.resources import deferred
from cacheserver.api.resources.conversations import ConversationTurn
from cacheserver.api.resources.entries.readable_texts import reads_served
from cacheserver.api.resources.messages import respond
from cacheserver.api.state import state_of
from cacheserver.cache import fingerprint
from cacheserver.cache import question as plain
from cacheserver.cache.answer import Answer
from cacheserver.cache.controls import query_controls
from cacheserver.cache.declared import declarations
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import LEVERS, Query, Tenant
from cacheserver.storage import deadline

router = APIRouter(tags=["query"])


class Asked(BaseModel):
    """Fields of a question: `prompt`, or `messages` as the Messages API takes them, and the rest of
    its identity.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str | None = Field(None, description="The question. This or `messages`.", min_length=1)
    messages: list[dict[str, Any]] | None = Field(
        None, description="A conversation, last turn last."
    )
    system: str | list[dict[str, Any]] | None = Field(None, description="The system prompt.")
    model: str = Field("auto", description="A model id, or `auto`: the server's default model.")
    max_tokens: int | None = Field(
        None, ge=0, description="The longest answer; by the task if absent."
    )
    ttl_s: int | None = Field(
        None, ge=0, description="Keep the answer for so many seconds; 0: do not store."
    )
    tags: list[str] | None = Field(None, description="To purge by, later.")
    namespace: str | None = Field(None, description="A partition of your own; `default` if absent.")
    task: str | None = Field(None, description="What kind of work it is; part of its identity.")
    requires_deep_analysis: bool = Field(
        False, description="Never answered with what was not asked for deep analysis."
    )
    schema_: dict[str, Any] | None = Field(
        None,
        alias="schema",
        description="A JSON schema of the answer, sent as Claude's `output_config.format`.",
    )
    question: str | None = Field(
        None, description="What is asked, stand-alone; with `context_blocks`, where the tenant may."
    )
    context: str | list[str] | None = Field(
        None, description="Keys of what the answer rests on, such as `kb@v42`; tags, to purge by."
    )
    context_blocks: list[str] | None = Field(
        None,
        description="Blocks and turns that `question` and `context` replace in the request's "
        "identity, such as `system.1`, `messages.0:-1`, `messages.-1.content.0`.",
    )
    actor: str | None = Field(
        None, description="The end user who asks, as `x-cache-actor`. Kept as a digest only."
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give `prompt` or `messages`, one of them")
        return self


class QueryRequest(Asked):
    """A question to be answered."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "How do I reset my password?"},
                {
                    "prompt": "Summarise this ticket.",
                    "system": "You are a support agent.",
                    "model": "claude-sonnet-5-5",
                    "max_tokens": 300,
                    "ttl_s": 86400,
                    "tags": ["ticket:42"],
                },
                {"prompt": "What changed today?", "cache": "refresh"},
            ]
        },
    )

    cache: Literal["default", "refresh", "only", "off"] = Field(
        "default",
        description="`refresh`: ask Claude and replace. `only`: a stored answer or 404. "
        "`off`: neither read nor stored.",
    )
    stream: bool = Field(False, description="Answer as Anthropic's server-sent events.")
    conversation: str | None = Field(
        None, description="A name of yours: the turns so far are kept here and come before."
    )
    when: Literal["now", "batch"] | None = Field(
        None, description="`batch`: answered later, as a job, for half the price."
    )
    deadline: int | float | str | None = Field(
        None, description="It may wait until then: seconds from now, or an ISO 8601 time."
    )
    webhook: str | None = Field(None, description="An https URL that is told when a job has ended.")
    levers_off: list[str] | None = Field(
        None, description="Levers to leave alone: " + ", ".join(LEVERS) + "."
    )
    check: dict[str, Any] | None = Field(
        None,
        description="What the answer must be like: `json`, `schema`, `one_of`, `contains`, "
        "`lacks`, `min_chars`, `max_chars`. Else it is asked again one tier up, and not kept.",
    )


class CandidateShown(BaseModel):
    """A similar stored question, and how it was judged."""

    entry: str = Field(description="The id of its answer.")
    question: str | None = Field(description="Its text where it was served, else null.")
    similarity: float = Field(description="Cosine to the question asked, -1 to 1.")
    penalty: float = Field(description="What its wrong hits take off that under a threshold.")
    probability: float | None = Field(
        description="That its answer serves; null: vetoed, or not asked for."
    )
    veto: str | None = Field(description="The rule that refuses it.")
    supported: bool | None = Field(
        description="Whether labels, or what the prior was fitted on, reach this far; "
        "null: not asked for."
    )
    age_s: int = Field(description="Age of its answer, in seconds.")


class DecisionShown(BaseModel):
    """The decision: the origin of the answer, and the reason."""

    kind: str = Field(description="exact | semantic | coalesced | stale | miss | bypass")
    reason: str
    similarity: float | None = Field(
        description="Cosine to the stored question that was served, or came nearest; -1 to 1."
    )
    question: str | None = Field(description="The stored question that was served; else null.")
    age_s: int | None = Field(description="Age of its answer, in seconds.")
    probability: float | None = Field(description="That its answer serves.")
    bar: float | None = Field(description="The similarity or probability that had to be reached.")
    target: float | None = Field(description="The share of hits that may be wrong.")
    candidates: list[CandidateShown] = Field(
        description="The nearest stored questions, at most five, the most similar first."
    )


class QueryAnswer(BaseModel):
    """The answer, with what it cost and saved in US dollars (9 decimal places; null: unpriced)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "Click “Forgot password” on the sign-in page.",
                    "content": [
                        {"type": "text", "text": "Click “Forgot password” on the sign-in page."}
                    ],
                    "origin": "claude",
                    "decision": {
                        "kind": "semantic",
                        "reason": "similar",
                        "similarity": 0.981244,
                        "question": "How can I reset my password?",
                        "age_s": 12,
                        "probability": None,
                        "bar": 0.95,
                        "target": None,
                        "candidates": [
                            {
                                "entry": "019aa2f0c3d1b6c4f2a19e5d7b8c0a31",
                                "question": "How can I reset my password?",
                                "similarity": 0.981244,
                                "penalty": 0.0,
                                "probability": None,
                                "veto": None,
                                "supported": None,
                                "age_s": 12,
                            }
                        ],
                    },
                    "model": "claude-haiku-5-5",
                    "stop_reason": "end_turn",
                    "usage": {"input_tokens": 14, "output_tokens": 11},
                    "cost_usd": "0.000000000",
                    "saved_usd": "0.000006900",
                    "ttl_s": 3600,
                    "batch_eligible": True,
                    "entry_id": "019aa2f0c3d1b6c4f2a19e5d7b8c0a31",
                    "decision_id": "dec_6f0e7c1f7d3b4b58a1c2d3e4",
                }
            ]
        }
    )

    text: str
    content: list[dict[str, Any]] = Field(description="Claude's content blocks.")
    origin: str = Field(
        description="Who made the answer: `claude`, `simulated`, `curated` by an operator, or "
        "`own`, put by an application."
    )
    decision: DecisionShown
    model: str
    stop_reason: str | None
    usage: dict[str, Any] = Field(description="Claude's usage; of a hit, that of its first asking.")
    cost_usd: str | None
    saved_usd: str | None
    ttl_s: int | None = Field(description="How long the answer is kept, as granted.")
    batch_eligible: bool = Field(description="Could have gone through Message Batches, half price.")
    entry_id: str | None = Field(description="The stored answer: purge or give feedback by it.")
    decision_id: str


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": QueryRequest.model_json_schema()}},
    }
}


@router.post(
    "/v1/query",
    response_model=QueryAnswer,
    summary="Ask a question",
    openapi_extra=_BODY,
)
async def ask(request: Request) -> Response:
    """Answer a question from the cache if that is safe, else from Claude.

    With `stream`, the answer is Anthropic's server-sent events; `x-cache-decision` names the
    decision, which `/v1/decisions/{id}` shows.
    """
    state = state_of(request)
    deadline.start(state.store_wait_s)
    caller = await state.gate.admit(request)
    raw = await errors.read_body(request, state.max_body_bytes)
    query, talk = state.recent.get(request.scope, raw, caller), None
    if query is None:
        given = await state.heavy.do(len(raw), lambda: errors.parse(raw))
        wait, fields = deferred.read_later(given, state.parts.clock())
        valid = await state.heavy.do(len(raw), lambda: validated(fields))
        talk = await ConversationTurn.of(valid, request.headers, caller.tenant, state.parts)

        def read() -> Query:
            return query_of(
                {**valid, "messages": talk.messages} if talk else valid,
                headers=request.headers,
                upstream_headers=dependencies.forwarded(request.headers),
                tenant=caller.tenant,
                parts=state.parts,
                credential=caller.credential,
                key_id=caller.key_id,
            )

        query = await state.heavy.do(len(raw), read)
        if wait is not None:
            deadline.clear()  # a job is acknowledged only once the store has it
            return await deferred.queue(request, caller, query, wait)
        if talk is None:  # else the query has the turns so far
            state.recent.keep(request.scope, raw, caller, query)
    answer = await while_there(request, state.parts.service.answer(query))
    if talk is not None:
        answer = await talk.remembered(query, answer)
    if answer.events is not None:
        return respond(answer)
    others = reads_served(caller)
    shown = json_text.dumps(plain.show(query, answer, state.parts.clock(), others=others))
    return Response(shown, media_type="application/json", headers=dict(answer.headers))


async def answer_as(
    parts: Components, tenant: Tenant, fields: Mapping[str, Any]
) -> tuple[Query, Answer]:
    """Answer a question that came over no connection: of this process itself.

    Raises as `ask` does.
    """
    valid = validated(fields)
    talk = await ConversationTurn.of(valid, {}, tenant, parts)
    query = query_of(
        {**valid, "messages": talk.messages} if talk else valid,
        headers={},
        upstream_headers={},
        tenant=tenant,
        parts=parts,
    )
    answer = await parts.service.answer(query)
    return query, answer if talk is None else await talk.remembered(query, answer)


def validated(fields: Mapping[str, Any], model: type[Asked] = QueryRequest) -> dict[str, Any]:
    """Validate all fields of a question. Raises `BadRequest` naming the first invalid one."""
    try:
        return model.model_validate(fields).model_dump(by_alias=True)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "prompt"
        raise BadRequest(where, first["msg"].removeprefix("Value error, ")) from None


def query_of(
    valid: Mapping[str, Any],
    *,
    headers: Mapping[str, str],
    upstream_headers: Mapping[str, str],
    tenant: Tenant,
    parts: Components,
    credential: str | None = None,
    key_id: str | None = None,
) -> Query:
    """Read a validated question as a query. Raises `BadRequest` naming the field."""
    body = plain.body_of(valid)
    query = fingerprint.read(
        body,
        json_text.dumps(body),
        headers=upstream_headers,
        tenant=tenant,
        controls=query_controls(valid, headers),
        upstream=parts.upstream.identity,
        language=parts.language,
        credential=credential,
        key_id=key_id,
        open_ended=valid["max_tokens"] is None,
        names=declarations.FIELDS,
    )
    name = valid.get("conversation")
    return query if name is None else replace(query, conversation=name)
