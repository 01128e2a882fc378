"""Vetoes between recorded questions, remembered from one dry run to the next.

A person who moves a slider replays the same decisions again and again, and most of the time goes
into reading the questions. Rule: what is remembered holds digests, and no text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

from cacheserver.matching.language import ALL_VETOES, Language
from cacheserver.matching.profile import Difference, Profile

_MOST = 50_000  # pairs, some 8 MB; a dry run reads 3,000


class VetoMemory:
    """All vetoes that fire between two texts, by a digest of both; None: unreadable."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._fired: dict[bytes, tuple[str, ...] | None] = {}

    def get(self, pair: bytes, default: Any) -> Any:
        return self._fired.get(pair, default)

    def put(self, pair: bytes, fired: tuple[str, ...] | None) -> None:
        if len(self._fired) >= self._most:
            self._fired.clear()
        self._fired[pair] = fired


class RecalledVetoes:
    """Word rules of one dry run. `read` leaves a text as it is: mostly it need not be read."""

    def __init__(self, language: Language, memory: VetoMemory) -> None:
        self._language = language
        self._memory = memory
        self._profiles: dict[str, Profile] = {}

    def read(self, text: str) -> Profile:
        return cast(Profile, text)

    def compare(self, a: Profile, b: Profile) -> Difference | None:
        """Return all vetoes that fire, as `vetoes` takes them."""
        one, other = cast(str, a), cast(str, b)
        words = f"{len(one)}:{one}{other}".encode("utf-8", "surrogatepass")
        pair = hashlib.blake2b(words, digest_size=16).digest()
        fired = self._memory.get(pair, _UNKNOWN)
        if fired is _UNKNOWN:
            difference = self._language.compare(self._profile(one), self._profile(other))
            fired = None if difference is None else self._language.vetoes(difference, ALL_VETOES)
            self._memory.put(pair, fired)
        return cast(Difference | None, fired)

    def vetoes(self, difference: Difference, enabled: frozenset[str]) -> tuple[str, ...]:
        fired = cast(Sequence[str], difference)
        return tuple([name for name in fired if name in enabled])

    def _profile(self, text: str) -> Profile:
        if text not in self._profiles:
            self._profiles[text] = self._language.profile(text)
        return self._profiles[text]


_UNKNOWN = object()
