"""A request's identity: its fingerprint (exact key) and scope (partition of the semantic index).

Rule: a field is part of both unless it is known not to change the answer. The fields left out are a
deny-list, applied at the top level only; a field added to the API tomorrow costs a miss.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cacheserver.cache import cacheability
from cacheserver.cache.declared import declarations
from cacheserver.cache.declared.declarations import Declared
from cacheserver.core import actors, fragments, json_text, tiers
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.messages.attribution import without_attribution
from cacheserver.core.messages.client_headers import BETA, shaping_headers
from cacheserver.core.rules.caching import FragmentKind
from cacheserver.core.types import API_VERSION, AUTO, FIRST_EMBEDDER, Controls, Query, Tenant
from cacheserver.core.usage import MOST_TOKENS
from cacheserver.matching import question_text
from cacheserver.matching.language import Language
from cacheserver.matching.volatility import ttl_cap_s

_MODEL_CHARS = 256  # Anthropic's longest id has 30


SCHEMA = 1  # version of the digest below; a change empties every cache

# Not in the key: the Messages API reference says of each that it does not change the answer.
UNSHAPING = frozenset(
    {
        "stream",
        "metadata",
        "service_tier",
        "speed",
        "diagnostics",
        "billing_policy",
        "fallback_credit_token",
        "cache_control",
    }
)
_UNSHAPING_OF_TOOLS = frozenset({"cache_control", "eager_input_streaming"})

_VOLATILE_CHARS = 2_000  # of the end of a text, where people ask


def read(
    body: Mapping[str, Any],
    raw: bytes,
    *,
    headers: Mapping[str, str],
    tenant: Tenant,
    controls: Controls,
    upstream: str,
    language: Language,
    credential: str | None = None,
    key_id: str | None = None,
    open_ended: bool = False,
    names: declarations.Names = declarations.HEADERS,
) -> Query:
    """Read a Messages body once.

    `headers` are those that go upstream, names in lower case. `upstream` identifies
    what answers; `language` reads the question. `open_ended`: the
    body's `max_tokens` is a placeholder of ours. `names` are those of the declaration's parts, for
    errors. Raises `BadRequest` naming the field, for the fields that we act on.
    """
    check(body)
    declared = declarations.read(body, raw, controls.declared, tenant.declared, names)
    if declared is not None:
        body, raw, controls = declared.body, declared.raw, declared.controls(controls)
    if body["model"] == AUTO:
        tiers.check_task(controls.task, tenant.routing, "task" if open_ended else "x-cache-task")
    shape = _one_spelling(body)
    if declared is not None:  # its places count the attribution block
        shape = declared.places.replaced(shape)
    shape = _unattributed(shape)
    headers = {"anthropic-version": API_VERSION, **headers}
    envelope = {
        "schema": SCHEMA,
        "upstream": upstream,
        "tenant": tenant.name,
        "epoch": tenant.routing_epoch,
        "namespace": controls.namespace,
        "task": controls.task,
        "deep": controls.deep,
        "headers": shaping_headers(headers, body),
        "betas": sorted({b.strip() for b in headers.get(BETA, "").split(",")} - {""}),
        "body": shape,
    }
    if controls.check is not None:  # a request with a check gets no unchecked answers
        envelope["check"] = asdict(controls.check)
    if declared is not None:
        # Present in declared requests alone, so these share no key with any other.
        envelope["declared"] = {"context": declared.declaration.context}
        envelope["question"] = declared.declaration.question
    fingerprint = keyed(tenant, _digest(envelope))
    actor = actors.actor_of(body, controls, tenant, key_id)
    text, exact_only = _question(body, shape, declared)
    bypass = cacheability.bypass(body) if controls.store else "no-store"
    volatile, cap = volatility(_texts(text, shape, declared), tenant, language)
    if cap == 0:
        bypass = bypass or f"volatile-{volatile}"
    if text is not None and not tenant.semantic:
        text, exact_only = None, "semantic-off"
    if text is not None:
        text, exact_only = question_text.matched_text(text, language, code=tenant.match_code)
    scope, label_scope = "", ""
    if text is not None:
        scope, label_scope = _scopes(envelope, shape, declared, tenant)
    return Query(
        body=body,
        raw=raw,
        headers=headers,
        tenant=tenant,
        controls=controls,
        fingerprint=fingerprint,
        scope=scope,
        label_scope=label_scope,
        text=text,
        exact_only=exact_only,
        bypass=bypass,
        model=body["model"],
        stream=body.get("stream") is True,
        credential=credential,
        key_id=key_id,
        open_ended=open_ended,
        volatile=volatile,
        ttl_cap_s=cap,
        actor=actor,
        caller=actors.caller_of(key_id, actor),
    )


def _question(
    body: Mapping[str, Any], shape: Mapping[str, Any], declared: Declared | None
) -> tuple[str | None, str | None]:
    """Return the text that similarity may match, or why there is none: one is None."""
    if declared is None:
        return cacheability.question(body)
    turns = [turn for turn in shape["messages"] if turn is not None]
    if (reason := cacheability.exact_only({**shape, "messages": turns})) is not None:
        return None, reason
    if body["messages"][-1]["role"] != "user":
        return None, "prefill"
    return declared.declaration.question, None


def _texts(text: str | None, shape: Mapping[str, Any], declared: Declared | None) -> list[str]:
    """Return the texts whose volatility counts: the question, and what stays of the last turn."""
    if declared is None:
        return [] if text is None else [text]
    last = shape["messages"][-1]
    blocks = [] if last is None else last["content"]
    stay = [one["text"] for one in blocks if one is not None and one["type"] == "text"]
    return [declared.declaration.question, *stay]


def volatility(
    texts: Sequence[str], tenant: Tenant, language: Language
) -> tuple[str | None, int | None]:
    """Return the volatility of texts, and the longest lifetime that their answer may have.

    An unseen character in "today" must not hide it: of several readings the strictest holds.
    """
    found = (
        language.volatility(reading)
        for text in texts
        for reading in question_text.readings(text[-_VOLATILE_CHARS:])
    )
    caps = [(one.kind, ttl_cap_s(one, tenant.volatility)) for one in found if one.kind != "stable"]
    return min(caps, key=lambda one: math.inf if one[1] is None else one[1], default=(None, None))


def shaping(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body that shape its answer, in one spelling.

    A string is the same as one text block; an absent field the same as null. Prompt-cache marks
    are left out wherever the API takes them, and nowhere else: a property of a tool's schema that
    happens to be called `cache_control` or `metadata` stays. So is Claude Code's attribution block.
    """
    return _unattributed(_one_spelling(body))


def _unattributed(shape: dict[str, Any]) -> dict[str, Any]:
    rest = without_attribution(shape.get("system"))
    if rest is shape.get("system"):
        return shape
    if rest:
        return {**shape, "system": rest}
    return {name: value for name, value in shape.items() if name != "system"}


def _one_spelling(body: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in body.items() if k not in UNSHAPING and v is not None}
    if "system" in kept:
        kept["system"] = _content(kept["system"])
    kept["messages"] = [
        {**message, "content": _content(message["content"])} for message in body["messages"]
    ]
    if "tools" in kept:
        kept["tools"] = [
            {k: v for k, v in tool.items() if k not in _UNSHAPING_OF_TOOLS}
            for tool in kept["tools"]
        ]
    return kept


def check(body: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for a field we act on that is missing or of the wrong type."""
    _want(body, "model", str, "a model id, for example claude-haiku-5-5", required=True)
    if not body["model"]:
        raise BadRequest("model", "must not be empty")
    if len(body["model"]) > _MODEL_CHARS or not body["model"].isprintable():
        # It is part of keys and rows, where half of a surrogate pair cannot be encoded.
        raise BadRequest("model", f"must be printable and {_MODEL_CHARS} characters at most")
    _want(body, "messages", list, "a list of messages", required=True)
    if not body["messages"]:
        raise BadRequest("messages", "must hold at least one message")
    _want(body, "stream", bool, "true or false")
    _want(body, "max_tokens", int, "a whole number")
    if not 0 <= (body.get("max_tokens") or 0) <= MOST_TOKENS:
        # What a call costs at most is reserved, and booked where its usage never arrives.
        raise BadRequest("max_tokens", f"must be a whole number from 0 to {MOST_TOKENS}")
    _want(body, "tools", list, "a list of tools")
    _want(body, "system", (str, list), "a string or a list of text blocks")
    if isinstance(body.get("system"), list):
        _blocks(body["system"], "system")
    for i, message in enumerate(body["messages"]):
        at = f"messages.{i}"
        if not isinstance(message, dict):
            raise BadRequest(at, "must be an object with `role` and `content`")
        if not isinstance(message.get("role"), str):
            raise BadRequest(f"{at}.role", "must be a string")
        content = message.get("content")
        if not isinstance(content, str | list):
            raise BadRequest(f"{at}.content", "must be a string or a list of content blocks")
        if isinstance(content, list):
            _blocks(content, f"{at}.content")
    for i, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool, dict):
            raise BadRequest(f"tools.{i}", "must be an object")


def _want(
    body: Mapping[str, Any],
    field: str,
    kind: type | tuple[type, ...],
    what: str,
    *,
    required: bool = False,
) -> None:
    value = body.get(field)
    if value is None:
        if required:
            raise BadRequest(field, f"is required: {what}")
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(field, f"must be {what}")


def _blocks(blocks: list[Any], at: str) -> None:
    for i, block in enumerate(blocks):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise BadRequest(f"{at}.{i}", "must be an object with a `type`")
        if block["type"] == "text" and not isinstance(block.get("text"), str):
            raise BadRequest(f"{at}.{i}.text", "must be a string")


def _content(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_block(block) for block in content]


def _block(block: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in block.items() if k != "cache_control"}
    if block["type"] == "tool_result" and isinstance(inner := kept.get("content"), str | list):
        well_formed = isinstance(inner, str) or all(
            isinstance(b, dict) and isinstance(b.get("type"), str) for b in inner
        )
        if well_formed:
            kept["content"] = _content(inner)
    return kept


def _blanked(shape: dict[str, Any]) -> dict[str, Any]:
    """Return the body without the last user text, which `cacheability.question` found last."""
    *earlier, last = shape["messages"]
    # Null is no text a caller can send, so the placeholder cannot be forged.
    content = [*last["content"][:-1], {**last["content"][-1], "text": None}]
    return {**shape, "messages": [*earlier, {**last, "content": content}]}


def _scopes(
    envelope: dict[str, Any],
    shape: dict[str, Any],
    declared: Declared | None,
    tenant: Tenant,
) -> tuple[str, str]:
    """Return the digests of everything but the question, with context keys and without."""
    ignored: Sequence[FragmentKind] = tenant.caching.ignore_in_scope
    # A scope was of one embedder once. Its id stays in the digest, so that stored scopes stay valid
    # whichever embedder is used: a change of it re-embeds questions, and moves none.
    rest = {**envelope, "embedder": FIRST_EMBEDDER}
    rest["body"] = _blanked(shape) if declared is None else shape
    if ignored:  # fragments of the system prompt that the tenant has opted to leave out
        system = fragments.without_fragments(rest["body"].get("system"), ignored)
        rest |= {"body": {**rest["body"], "system": system}, "ignored": sorted(ignored)}
    if declared is None:
        scope = keyed(tenant, _digest(rest))
        return scope, scope
    del rest["question"]
    return keyed(tenant, _digest(rest)), keyed(tenant, _digest({**rest, "declared": {}}))


def _digest(value: Any) -> str:
    return hashlib.sha256(json_text.dumps(value, sort_keys=True)).hexdigest()
