"""The models the simulated Claude serves, with the limits and prices of each.

Prompt-cache minimums, token ratios and refusals are those documented in autumn 2026; where nothing
is documented for a model, it has those of its nearest relative. Prices are written by
hand from the published list (November 2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from cacheserver.simulated.errors import ApiError

EFFORTS = ("low", "medium", "high", "xhigh", "max")

_NEW_TOKENIZER = 2.5  # characters a token: 1M tokens are about 2.5M characters since 4.7
_OLD_TOKENIZER = 3.4

# Nanodollars a token, that is thousandths of a dollar a million tokens: input, output, 5-minute
# cache write, 1-hour cache write, cache read.
Prices: TypeAlias = tuple[int, int, int, int, int]
_OPUS_5: Prices = (5_000, 25_000, 6_250, 10_000, 500)
_SONNET_4: Prices = (3_000, 15_000, 3_750, 6_000, 300)


@dataclass(frozen=True, slots=True)
class Model:
    """One model and what it accepts."""

    id: str
    line: str
    display_name: str
    released: str  # RFC 3339
    thinking: tuple[str, ...]  # the `thinking.type`s it takes
    prices: Prices
    fast: bool = False  # has a fast mode, at twice the price
    min_cacheable_tokens: int = 512
    chars_per_token: float = _NEW_TOKENIZER
    max_input_tokens: int = 1_000_000
    max_tokens: int = 128_000
    effort: bool = True
    forced_tools: bool = True  # takes `tool_choice` any and tool
    legacy: bool = False  # before 4.7: takes sampling parameters and assistant prefill
    binds_account: bool = False  # its thinking blocks work only in the account that made them
    aliases: tuple[str, ...] = ()

    def info(self) -> dict[str, Any]:
        """Return the model as `GET /v1/models` shows it."""
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "created_at": self.released,
            "line": self.line,
            "lifecycle": "active",
            "deprecated_at": None,
            "retires_at": None,
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_tokens,
            "capabilities": self._capabilities(),
        }

    def _capabilities(self) -> dict[str, Any]:
        def supported(yes: bool) -> dict[str, Any]:
            return {"supported": yes}

        types = ("adaptive", "between_tools", "disabled", "enabled")
        always = ("batch", "citations", "image_input", "pdf_input", "structured_outputs")
        return {
            **{name: supported(True) for name in always},
            "code_execution": supported(False),
            "context_management": {
                **supported(False),
                "clear_thinking_20251015": None,
                "clear_tool_uses_20250919": None,
                "compact_20260112": None,
            },
            "effort": {
                **supported(self.effort),
                **{level: supported(self.effort) for level in EFFORTS},
            },
            "server_tools": {
                **supported(True),
                "code_execution": supported(False),
                "web_search": supported(True),
            },
            "thinking": {
                **supported(True),
                "types": {name: supported(name in self.thinking) for name in types},
            },
        }


MODELS: tuple[Model, ...] = (
    Model(
        "claude-haiku-5-5",
        "haiku",
        "Claude Haiku 5.5",
        "2026-10-07T00:00:00Z",
        ("adaptive", "disabled"),
        prices=(100, 500, 125, 200, 10),
        binds_account=True,
    ),
    Model(
        "claude-sonnet-5-5",
        "sonnet",
        "Claude Sonnet 5.5",
        "2026-09-24T00:00:00Z",
        ("adaptive", "between_tools"),
        prices=(2_000, 10_000, 2_500, 4_000, 100),
        forced_tools=False,
        binds_account=True,
    ),
    Model(
        "claude-opus-5-5",
        "opus",
        "Claude Opus 5.5",
        "2026-09-10T00:00:00Z",
        ("adaptive",),
        prices=(4_000, 20_000, 5_000, 8_000, 200),
        fast=True,
        forced_tools=False,
    ),
    Model(
        "claude-fable-5-2",
        "fable",
        "Claude Fable 5.2",
        "2026-10-14T00:00:00Z",
        ("adaptive",),
        prices=(8_000, 40_000, 10_000, 16_000, 200),
        fast=True,
        forced_tools=False,
    ),
    Model(
        "claude-opus-5",
        "opus",
        "Claude Opus 5",
        "2026-06-01T00:00:00Z",
        ("adaptive", "disabled"),
        prices=_OPUS_5,
        fast=True,
    ),
    Model(
        "claude-sonnet-5",
        "sonnet",
        "Claude Sonnet 5",
        "2026-05-01T00:00:00Z",
        ("adaptive", "disabled"),
        prices=(2_000, 10_000, 2_500, 4_000, 200),
        min_cacheable_tokens=1_024,
    ),
    Model(
        "claude-opus-4-8",
        "opus",
        "Claude Opus 4.8",
        "2026-04-01T00:00:00Z",
        ("adaptive", "disabled"),
        prices=_OPUS_5,
        fast=True,
        min_cacheable_tokens=1_024,
    ),
    Model(
        "claude-opus-4-7",
        "opus",
        "Claude Opus 4.7",
        "2026-03-01T00:00:00Z",
        ("adaptive", "disabled"),
        prices=_OPUS_5,
        min_cacheable_tokens=2_048,
    ),
    Model(
        "claude-opus-4-6",
        "opus",
        "Claude Opus 4.6",
        "2026-02-05T00:00:00Z",
        ("adaptive", "enabled", "disabled"),
        prices=_OPUS_5,
        min_cacheable_tokens=4_096,
        chars_per_token=_OLD_TOKENIZER,
        legacy=True,
    ),
    Model(
        "claude-sonnet-4-6",
        "sonnet",
        "Claude Sonnet 4.6",
        "2026-02-17T00:00:00Z",
        ("adaptive", "enabled", "disabled"),
        prices=_SONNET_4,
        min_cacheable_tokens=1_024,
        chars_per_token=_OLD_TOKENIZER,
        legacy=True,
    ),
    Model(
        "claude-sonnet-4-5-20250929",
        "sonnet",
        "Claude Sonnet 4.5",
        "2025-09-29T00:00:00Z",
        ("enabled", "disabled"),
        prices=_SONNET_4,
        min_cacheable_tokens=1_024,
        chars_per_token=_OLD_TOKENIZER,
        max_input_tokens=200_000,
        max_tokens=64_000,
        effort=False,
        legacy=True,
        aliases=("claude-sonnet-4-5",),
    ),
    Model(
        "claude-haiku-4-5-20251001",
        "haiku",
        "Claude Haiku 4.5",
        "2025-10-01T00:00:00Z",
        ("enabled", "disabled"),
        prices=(1_000, 5_000, 1_250, 2_000, 100),
        min_cacheable_tokens=4_096,
        chars_per_token=_OLD_TOKENIZER,
        max_input_tokens=200_000,
        max_tokens=64_000,
        effort=False,
        legacy=True,
        aliases=("claude-haiku-4-5",),
    ),
)


def find(name: str) -> Model:
    """Return the model of that id or alias. Raises a 404 where there is none."""
    for model in MODELS:
        if name == model.id or name in model.aliases:
            return model
    raise ApiError(404, f"model: {name}")
