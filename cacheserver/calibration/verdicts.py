"""Verdicts on pairs: whether the answer of a stored question serves the one that was asked.

A person's verdict counts before all others, then a bad verdict, which lasts as long as the answer,
then the scope's labels, by entry and similarity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple, TypeAlias

from cacheserver.calibration.labels import Labels
from cacheserver.calibration.review.admin_labels import AdminLabels, digest_of
from cacheserver.matching.calibration import Label

Right: TypeAlias = Mapping[tuple[str, float], bool]  # by entry and rounded cosine


class JudgedPair(NamedTuple):
    """A question and a stored answer."""

    fingerprint: str
    entry: str
    similarity: float


def right_of(labels: Sequence[Label], entries: Set[str]) -> dict[tuple[str, float], bool]:
    """Return what a scope's labels say of pairs with these entries; the latest of two counts."""
    seen = ((one.evidence, one.right) for one in labels if one.evidence.entry in entries)
    return {(evidence.entry, round(evidence.cosine, 6)): right for evidence, right in seen}


class Verdicts:
    """Reader of verdicts."""

    def __init__(self, *, labels: Labels, given: AdminLabels) -> None:
        self._labels = labels
        self._given = given

    async def wrong(
        self, tenant: str, pairs: Sequence[JudgedPair], rights: Sequence[Right]
    ) -> list[bool | None]:
        """Return of each pair whether the answer is wrong for the question; None: not known.

        `rights` are of the labels of each pair's scope. Raises `StoreError`.
        """
        condemned = await self._labels.condemned(tenant, [(p.fingerprint, p.entry) for p in pairs])
        digests = [digest_of(pair.fingerprint, pair.entry) for pair in pairs]
        given = await self._given.of(tenant, digests)
        found: list[bool | None] = []
        for pair, digest, bad, right in zip(pairs, digests, condemned, rights, strict=True):
            label = given.get(digest)
            if label is not None and label.done and label.verdict != "skip":
                found.append(label.verdict == "no")
            elif bad:
                found.append(True)
            else:
                was_right = right.get((pair.entry, round(pair.similarity, 6)))
                found.append(None if was_right is None else not was_right)
        return found
