"""Layout of a request for Claude's prompt cache: positions of marks, and the prefix of each.

The cache matches exact prefixes in the order tools, system, messages. A prefix is identified by a
rolling hash of its blocks and of everything else that must be equal for a cache hit. Claude Code's
attribution block, which differs from request to request, is neither hashed nor marked. Tokens are
estimates; the usage of a call corrects them (`promptcache.planner.settle`). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cacheserver.claude import capabilities
from cacheserver.core import json_text
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.messages import client_headers
from cacheserver.core.messages.attribution import without_attribution
from cacheserver.core.types import Mark, Tenant
from cacheserver.pricing.estimate import chars_per_token

_IMAGE_TOKENS = 1_600  # a picture of 1.1 megapixels, the largest that is not scaled down
_FILE_TOKENS = 2_000  # a document that is no text

_MARKABLE = frozenset({"text", "image", "document", "tool_use", "tool_result", "search_result"})

# Ends of turns that may be shared, counted from the last: the request itself (a conversation goes
# on from there), the turn before it (few-shot turns end there), and where earlier requests of the
# same conversation ended.
_TURNS = (1, 2, 3, 5)


@dataclass(frozen=True, slots=True)
class MarkPosition:
    """Position where a mark may be set."""

    path: tuple[str | int, ...]
    kind: str  # "tools", "system", "block", "turn1", "turn2"...: what it is reused like
    position: int  # of its block, 0 for the first
    tokens: int  # of the prefix it closes, estimated
    prefix: str  # hash of that prefix, 32 hex digits
    root: str  # hash of tools and system: spots of one kind under one root are reused alike


@dataclass(frozen=True, slots=True)
class Layout:
    spots: tuple[MarkPosition, ...]  # in the order of the prompt; all of enough tokens
    tokens: int  # of the whole prompt, estimated
    root: str


def minimum(model: str) -> int:
    """Return the shortest prefix that the model caches, in tokens."""
    return capabilities.of(model.removeprefix("anthropic/"), {}).min_cacheable_tokens


def marked_by_caller(body: Mapping[str, Any]) -> bool:
    """Return whether the body has a `cache_control` anywhere the API takes one."""
    if body.get("cache_control") is not None:
        return True
    waiting: list[Any] = [body.get("tools"), body.get("system")]
    waiting += [message.get("content") for message in body["messages"]]
    while waiting:
        blocks = waiting.pop()
        if not isinstance(blocks, list):
            continue
        for block in blocks:
            if isinstance(block, Mapping):
                if block.get("cache_control") is not None:
                    return True
                waiting.append(block.get("content"))
    return False


def lay_out(body: Mapping[str, Any], model: str, headers: Mapping[str, str]) -> Layout:
    """Return the positions in a body that the caller left unmarked."""
    least, ratio = minimum(model), chars_per_token(model)
    digest = hashlib.sha256(json_text.dumps([model, _namespace(headers)]))
    spots: list[MarkPosition] = []
    position, tokens = 0, 0.0
    root = ""
    wanted = _wanted(body)
    for section, salt, blocks in _sections(body):
        digest.update(salt)
        for path, role, block in blocks:
            piece = _bytes(block)
            digest.update(len(piece).to_bytes(8, "big") + role.encode() + b"\0" + piece)
            tokens += _tokens(block, piece, ratio)
            kind = wanted.get(path)
            if kind is not None and tokens >= least and _takes_mark(section, block):
                prefix = digest.copy().hexdigest()[:32]
                spots.append(MarkPosition(path, kind, position, int(tokens), prefix, root))
            position += 1
        if section == "system":
            root = digest.copy().hexdigest()[:32]
    return Layout(tuple(spots), int(tokens), root)


def under(layout: Layout, tenant: Tenant) -> Layout:
    """Return the layout with its digests as `tenant` stores them."""
    if not tenant.no_content:
        return layout
    spots = [
        replace(spot, prefix=keyed(tenant, spot.prefix), root=keyed(tenant, spot.root))
        for spot in layout.spots
    ]
    return replace(layout, spots=tuple(spots), root=keyed(tenant, layout.root))


def with_marks(body: Mapping[str, Any], marks: Sequence[Mark]) -> dict[str, Any]:
    """Return the body with marks. Unmarked parts are shared with the old mapping."""
    marked = dict(body)
    for mark in marks:
        control: dict[str, Any] = {"type": "ephemeral"}
        if mark.ttl == "1h":
            control["ttl"] = "1h"  # five minutes are the default, and older than the field
        _put(marked, mark.path, control)
    return marked


def _put(at: dict[str, Any], path: Sequence[str | int], control: Mapping[str, Any]) -> None:
    """Copy the path down to the block, and mark it. A string on the path becomes a text block."""
    name, *rest = path
    inner = at[name]  # type: ignore[index]
    if isinstance(inner, str):
        inner = [{"type": "text", "text": inner}]
    copied = list(inner) if isinstance(inner, list) else dict(inner)
    at[name] = copied  # type: ignore[index]
    if rest:
        _put(copied, rest, control)  # type: ignore[arg-type]
    else:
        copied["cache_control"] = control  # type: ignore[call-overload]


def _namespace(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return Claude's own headers: workspaces share no cache, betas may change the prompt."""
    return sorted(
        (name, value)
        for name, value in headers.items()
        if name.startswith("anthropic-")
        and name != "anthropic-version"
        and (name, value) != client_headers.BROWSER
    )


_Block = tuple[tuple[str | int, ...], str, Mapping[str, Any]]


def _sections(body: Mapping[str, Any]) -> Iterator[tuple[str, bytes, Iterator[_Block]]]:
    """Yield each section, with what invalidates the cache from there on.

    See "What invalidates the cache" in Anthropic's page on prompt caching.
    """
    tools = body.get("tools") or []
    output = body.get("output_config")
    searches = any(str(tool.get("type", "")).startswith("web_") for tool in tools)
    effort = output.get("effort") if isinstance(output, Mapping) else None
    yield "tools", b"", ((("tools", at), "", tool) for at, tool in enumerate(tools))
    yield (
        "system",
        json_text.dumps([body.get("speed"), searches]),
        ((("system", at), "", block) for at, block in _prompt(body)),
    )
    yield (
        "messages",
        json_text.dumps([body.get("tool_choice"), body.get("thinking"), effort, _pictures(body)]),
        (
            (("messages", turn, "content", at), str(message.get("role")), block)
            for turn, message in enumerate(body["messages"])
            for at, block in enumerate(_blocks(message.get("content")))
        ),
    )


def _wanted(body: Mapping[str, Any]) -> dict[tuple[str | int, ...], str]:
    """Return the positions worth a mark, at most 13, with the kind of each."""
    found: dict[tuple[str | int, ...], str] = {}
    if tools := body.get("tools"):
        found["tools", len(tools) - 1] = "tools"
    system = [at for at, _ in _prompt(body)]
    for at in {*system[:1], *system[-2:]}:
        found["system", at] = "system"
    messages = body["messages"]
    for turn in {0, len(messages) - 1}:
        inner = len(_blocks(messages[turn].get("content"))) - 1
        for at in {0, inner - 2, inner - 1} & set(range(inner)):
            found["messages", turn, "content", at] = "block"
    for back in _TURNS:
        turn = len(messages) - back
        if turn >= 0 and (size := len(_blocks(messages[turn].get("content")))):
            found["messages", turn, "content", size - 1] = f"turn{back}"
    return found


def _prompt(body: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the blocks of the system prompt behind any attribution, each with its place."""
    blocks = _blocks(body.get("system"))
    rest = without_attribution(blocks)
    return list(enumerate(rest, len(blocks) - len(rest)))


def _blocks(content: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def _bytes(block: Mapping[str, Any]) -> bytes:
    text = block.get("text")
    if block.get("type") == "text" and isinstance(text, str) and len(block) == 2:
        return text.encode("utf-8", "surrogatepass")  # the bulk of a prompt, and cheaper than JSON
    return json_text.dumps(block)


def _tokens(block: Mapping[str, Any], piece: bytes, ratio: float) -> float:
    source = block.get("source")
    match block.get("type"):
        case "text":
            return max(1.0, len(str(block.get("text", ""))) / ratio)
        case "image":
            return _IMAGE_TOKENS
        case "document" if isinstance(source, Mapping) and source.get("type") != "text":
            return _FILE_TOKENS
        case _:
            return max(1.0, len(piece) / ratio)


def _takes_mark(section: str, block: Mapping[str, Any]) -> bool:
    if section == "tools":
        return not block.get("defer_loading")
    if block.get("type") == "text":
        return bool(str(block.get("text", "")).strip())  # the API refuses marks on empty text
    return block.get("type") in _MARKABLE


def _pictures(body: Mapping[str, Any]) -> bool:
    return any(
        block.get("type") == "image"
        for message in body["messages"]
        for block in _blocks(message.get("content"))
    )
