"""Names of the types of work, and the walk over a body's content blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Every task name there is; an operator's rules may add more.
TASKS: Final[tuple[str, ...]] = (
    "classification",
    "extraction",
    "short_qa",
    "general_chat",
    "support",
    "translation",
    "summarisation",
    "writing",
    "analysis",
    "code",
    "code_review",
    "math",
    "planning",
    "reasoning",
    "balanced_reasoning",
    "code_assistance",
    "complex_reasoning",
    "multi_step_planning",
    "advanced_code_gen",
)

_ALIASES: Final[Mapping[str, str]] = {
    "summarization": "summarisation",
    "summary": "summarisation",
    "tagging": "classification",
    "chat": "general_chat",
    "qa": "short_qa",
    "faq": "short_qa",
    "coding": "code",
    "code_generation": "code",
    "maths": "math",
}


def canonical(name: str) -> str:
    """Return the name in `TASKS` for a spelling of it; an unknown name stays as it is."""
    plain = name.lower().replace("-", "_")
    plain = _ALIASES.get(plain, plain)
    return plain if plain in TASKS else name


def blocks_of(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a list of content blocks; nothing if `content` is no list."""
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, Mapping))
