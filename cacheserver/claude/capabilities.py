"""Capabilities of models, the needs of a request, and which of them a model would refuse.

Rule: only known refusals exclude a model. An unknown model or field is taken to be fine: Claude
reports an error if it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cacheserver.core.tasks import blocks_of

_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_EFFORTS_BETWEEN_TOOLS: Final = frozenset({"low", "medium", "high"})

_NEW_CHARS: Final = 2.5  # a token, from 4.7 on; an estimate (Anthropic's model pages)
_OLD_CHARS: Final = 3.4
# An image is at most about 1,600 tokens however many bytes it has (width x height / 750, and it
# is made smaller above that). A document's pages cannot be counted here; it counts as one.
_IMAGE_TOKENS: Final = 1_600


@dataclass(frozen=True, slots=True)
class Abilities:
    """Capabilities of one model. None: unknown, so never a reason to exclude it."""

    thinking: frozenset[str] | None = None  # values of `thinking.type`
    efforts: frozenset[str] | None = None
    forced_tools: bool = True  # `tool_choice` any and tool
    prefill: bool = True  # an assistant turn that stands last
    sampling: bool = True  # `temperature` and its kin, other than at their defaults
    computer: bool = True  # the tool computer_20251124
    structured: bool = True  # `output_config.format`
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    chars_per_token: float = _NEW_CHARS
    # The shortest prompt prefix that Claude caches. A mark under the real minimum costs nothing:
    # nothing is written.
    min_cacheable_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements of one request."""

    thinking: str | None = None
    effort: str | None = None
    forced_tools: bool = False
    prefill: bool = False
    sampling: bool = False
    computer: bool = False
    structured: bool = False
    output_tokens: int = 0
    chars: int = 0  # of text, an upper bound
    images: int = 0


def _modern(*thinking: str, **more: Any) -> Abilities:
    """Return a model's abilities since 4.7: no prefill, no sampling, 1M tokens in, 128k out."""
    return Abilities(
        **{
            "thinking": frozenset(thinking),
            "efforts": _EFFORTS,
            "prefill": False,
            "sampling": False,
            "max_input_tokens": 1_000_000,
            "max_output_tokens": 128_000,
            **more,
        }
    )


_OLD_THINKING: Final = frozenset({"enabled", "disabled"})

# Abilities that `GET /v1/models` may not list, by family: a dated id (`-20251001`) finds its
# family's row. A model that is not here is taken to refuse nothing.
STATIC: Final[Mapping[str, Abilities]] = {
    "claude-haiku-5-5": _modern("adaptive", "disabled"),
    "claude-sonnet-5-5": _modern("adaptive", "between_tools", forced_tools=False, computer=False),
    "claude-opus-5-5": _modern("adaptive", forced_tools=False, computer=False),
    "claude-fable-5-2": _modern("adaptive", forced_tools=False),
    "claude-fable-5-1": _modern("adaptive", forced_tools=False),
    "claude-opus-5": _modern("adaptive", "disabled"),
    "claude-sonnet-5": _modern("adaptive", "disabled", min_cacheable_tokens=1_024),
    "claude-opus-4-8": _modern("adaptive", "disabled", min_cacheable_tokens=1_024),
    "claude-opus-4-7": _modern("adaptive", "disabled", min_cacheable_tokens=2_048),
    "claude-opus-4-6": Abilities(
        max_input_tokens=1_000_000, chars_per_token=_OLD_CHARS, min_cacheable_tokens=4_096
    ),
    "claude-sonnet-4-6": Abilities(
        max_input_tokens=1_000_000, chars_per_token=_OLD_CHARS, min_cacheable_tokens=1_024
    ),
    "claude-opus-4-5": Abilities(min_cacheable_tokens=4_096),
    "claude-sonnet-4-5": Abilities(
        _OLD_THINKING,
        frozenset(),
        max_input_tokens=200_000,
        max_output_tokens=64_000,
        chars_per_token=_OLD_CHARS,
        min_cacheable_tokens=1_024,
    ),
    "claude-haiku-4-5": Abilities(
        _OLD_THINKING,
        frozenset(),
        max_input_tokens=200_000,
        max_output_tokens=64_000,
        chars_per_token=_OLD_CHARS,
        min_cacheable_tokens=4_096,
    ),
}

_ANYTHING: Final = Abilities()
_DATED: Final = len("-20251001")


def of(model: str, listed_models: Mapping[str, Abilities]) -> Abilities:
    """Return the abilities of a model: from Claude's list, else from our table, else no limits."""
    for table in (listed_models, STATIC):
        if (found := table.get(model)) is not None:
            return found
    if model[-_DATED : -_DATED + 1] == "-" and model[1 - _DATED :].isdigit():
        return of(model[:-_DATED], listed_models)
    return _ANYTHING


def needs(body: Mapping[str, Any]) -> Needs:
    """Return the requirements of a request. Raises nothing, whatever the body holds."""
    thinking = _text(_part(body, "thinking"), "type")
    config = _part(body, "output_config")
    messages = body.get("messages") or ()
    last = messages[-1] if isinstance(messages, list) and messages else {}
    needed = body.get("max_tokens")
    chars, images = _size(body)
    return Needs(
        thinking=thinking,
        effort=_text(config, "effort"),
        forced_tools=_text(_part(body, "tool_choice"), "type") in ("any", "tool"),
        prefill=isinstance(last, Mapping) and last.get("role") == "assistant" and not _paused(last),
        sampling=any(body.get(name) not in (None, 1) for name in ("temperature", "top_p"))
        or body.get("top_k") is not None,
        computer=any(
            tool.get("type") == "computer_20251124" for tool in blocks_of(body.get("tools"))
        ),
        structured=bool(config.get("format")),
        output_tokens=needed if isinstance(needed, int) else 0,
        chars=chars,
        images=images,
    )


def lacks(able: Abilities, need: Needs) -> str | None:
    """Return the first requirement that a model would refuse, or None."""
    if None not in (need.thinking, able.thinking) and need.thinking not in (able.thinking or ()):
        return "budget" if need.thinking == "enabled" else "thinking"
    if need.effort is not None and able.efforts is not None and need.effort not in able.efforts:
        return "effort"
    if need.thinking == "between_tools" and (need.effort or "high") not in _EFFORTS_BETWEEN_TOOLS:
        return "effort"
    wanted: Sequence[tuple[str, bool, bool]] = (
        ("tool-choice", need.forced_tools, able.forced_tools),
        ("prefill", need.prefill, able.prefill),
        ("sampling", need.sampling, able.sampling),
        ("computer", need.computer, able.computer),
        ("structured", need.structured, able.structured),
    )
    for name, needed, given in wanted:
        if needed and not given:
            return name
    if able.max_output_tokens is not None and need.output_tokens > able.max_output_tokens:
        return "output"
    if able.max_input_tokens is not None:
        tokens = need.chars / able.chars_per_token + need.images * _IMAGE_TOKENS
        if tokens > able.max_input_tokens:
            return "context"
    return None


def listed(rows: Iterable[Any]) -> dict[str, Abilities]:
    """Return abilities by id, from the rows of `GET /v1/models` over our own table.

    Fields that a row lacks, or has in an unknown shape, keep our own values.
    """
    found: dict[str, Abilities] = {}
    for row in rows:
        if isinstance(row, Mapping) and isinstance(name := row.get("id"), str):
            found[name] = _abilities_of(row, of(name, {}))
    return found


def _abilities_of(row: Mapping[str, Any], base: Abilities) -> Abilities:
    says = _part(row, "capabilities")
    changes: dict[str, Any] = {}
    if types := _supported(_part(_part(says, "thinking"), "types")):
        changes["thinking"] = frozenset(name for name, yes in types.items() if yes)
    if isinstance(says.get("effort"), Mapping):
        efforts = _supported(says["effort"])
        none = says["effort"].get("supported") is False
        changes["efforts"] = (
            frozenset() if none else frozenset(name for name, yes in efforts.items() if yes)
        )
    if isinstance(yes := _part(says, "structured_outputs").get("supported"), bool):
        changes["structured"] = yes
    for ours, theirs in (("max_input_tokens", "max_input_tokens"),
                         ("max_output_tokens", "max_tokens")):  # fmt: skip
        if isinstance(limit := row.get(theirs), int) and limit > 0:
            changes[ours] = limit
    return replace(base, **changes)


def _supported(part: Mapping[str, Any]) -> dict[str, bool]:
    """Return which named features are supported: `{"low": {"supported": true}, ...}`."""
    return {
        name: value["supported"]
        for name, value in part.items()
        if isinstance(value, Mapping) and isinstance(value.get("supported"), bool)
    }


def _paused(message: Mapping[str, Any]) -> bool:
    """Return whether the last turn is a paused one, which may be sent back to be continued."""
    return any(b.get("type") == "server_tool_use" for b in blocks_of(message.get("content")))


def _size(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of characters, and of images and documents."""
    chars, images = 0, 0
    waiting: list[Any] = [body.get("system"), body.get("tools")]
    for message in blocks_of(body.get("messages")):
        waiting.append(message.get("content"))
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            chars += len(part)
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, Mapping):
            if _text(_part(part, "source"), "type") in ("base64", "url", "file"):
                images += 1
            else:
                waiting.extend(part.values())
    return chars, images


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(part: Mapping[str, Any], name: str) -> str | None:
    value = part.get(name)
    return value if isinstance(value, str) else None
