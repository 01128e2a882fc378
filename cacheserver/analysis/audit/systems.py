"""Grouping of system prompts that differ only in times, ids and names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cacheserver.core.messages.attribution import prompt_of
from cacheserver.pricing.estimate import chars_per_token
from cacheserver.promptcache.skeleton import MOVED, skeleton, text_of

_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Moving:
    """A system prompt with changing words: the digest of the rest, and its length."""

    digest: str
    tokens: int


class Systems:
    """Digests of system prompts without their changing words, computed once for each root."""

    def __init__(self) -> None:
        self._by_root: OrderedDict[str, Moving | None] = OrderedDict()

    def moving(self, root: str, body: Mapping[str, Any] | None, model: str) -> Moving | None:
        """Return the system prompt's digest and length; None if it does not change or is absent."""
        if body is None:
            return None
        if root in self._by_root:
            return self._by_root[root]
        text = text_of(prompt_of(body))
        found = skeleton(text)
        changes = any(one.kind in MOVED for one in found.fragments)
        found_moving = (
            Moving(found.digest, round(len(text) / chars_per_token(model))) if changes else None
        )
        self._by_root[root] = found_moving
        if len(self._by_root) > _MOST:
            self._by_root.popitem(last=False)
        return found_moving

    def group(self, root: str, body: Mapping[str, Any] | None, model: str) -> str:
        """Return one name for all roots that differ only in changing words."""
        moving = self.moving(root, body, model)
        return root if moving is None else moving.digest
