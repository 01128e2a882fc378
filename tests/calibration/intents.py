"""A Claude that knows an answer for each of some intents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cacheserver.simulated import Directives


def by_intent(text: str, intents: Mapping[str, Iterable[str]]) -> Directives:
    """Return the answer whose deeds the text names, or one of its own."""
    for answer, deeds in intents.items():
        if any(deed in text for deed in deeds):
            return Directives(text=answer)
    return Directives(text=f"That is another matter: {text}")
