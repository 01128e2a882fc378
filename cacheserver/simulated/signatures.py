"""Signatures that bind thinking blocks to their model and prompt.

A signature names the model, the account, the prefix (system, tools, all earlier messages) and the
thinking. Sent back elsewhere, a block is dropped where another model or, for models that bind it,
another account asks, and refused where the prefix or the thinking has changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cacheserver.simulated import prompt
from cacheserver.simulated.catalogue import Model
from cacheserver.simulated.errors import ApiError, invalid


def sign(thinking: str, body: Mapping[str, Any], model: Model, account: str) -> str:
    """Return the signature of a thought that answers `body`."""
    messages = body["messages"]
    if messages[-1]["role"] == "assistant":  # continued: the turn itself is not its prefix
        messages = messages[:-1]
    facts = {
        "account": account,
        "model": model.id,
        "prefix": _prefix(body, messages),
        "thinking": _digest(thinking),
    }
    return base64.b64encode(orjson.dumps(facts)).decode()


def readable(body: Mapping[str, Any], model: Model, account: str) -> Mapping[str, Any]:
    """Return `body` without the thinking blocks this model cannot read here.

    Raises a 400 for a block that was changed or moved to another conversation.
    """
    if not any(message["role"] == "assistant" for message in body["messages"]):
        return body
    messages = [
        _checked(body, index, model, account) if message["role"] == "assistant" else message
        for index, message in enumerate(body["messages"])
    ]
    return {**body, "messages": messages}


def _checked(body: Mapping[str, Any], index: int, model: Model, account: str) -> Mapping[str, Any]:
    message: Mapping[str, Any] = body["messages"][index]
    if isinstance(message["content"], str):
        return message
    prefix = _prefix(body, body["messages"][:index])
    kept = []
    for position, part in enumerate(message["content"]):
        if part.get("type") == "thinking":
            where = f"messages.{index}.content.{position}"
            facts = _read(part, where)
            if facts["model"] != model.id:
                continue
            if model.binds_account and facts["account"] != account:
                continue
            if facts["prefix"] != prefix:
                raise invalid(
                    f"{where}: Invalid `signature` in `thinking` block. "
                    "The block is bound to a different conversation"
                )
            if part["thinking"] and facts["thinking"] != _digest(part["thinking"]):
                raise _forged(where)
        kept.append(part)
    return {**message, "content": kept}


def _read(part: Mapping[str, Any], where: str) -> Mapping[str, str]:
    try:
        facts = orjson.loads(base64.b64decode(str(part.get("signature")), validate=True))
    except (binascii.Error, ValueError):
        raise _forged(where) from None
    if not isinstance(facts, dict) or facts.keys() != {"account", "model", "prefix", "thinking"}:
        raise _forged(where)
    return facts


def _forged(where: str) -> ApiError:
    return invalid(f"{where}: Invalid `signature` in `thinking` block")


def _prefix(body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str:
    system = [prompt.unmarked(part) for part in prompt.blocks_of(body.get("system"))]
    tools = [prompt.unmarked(tool) for tool in body.get("tools") or []]
    turns = [
        [message["role"], prompt.unmarked(part)]
        for message in messages
        for part in prompt.blocks_of(message["content"])
    ]
    packed = orjson.dumps([system, tools, turns], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(packed).hexdigest()[:32]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
