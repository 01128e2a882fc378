"""The result of a fill: an answer of Claude's, with its price and where it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cacheserver.core.types import Entry, Nanodollars, PlannedCall, Usage


@dataclass(frozen=True, slots=True)
class Filled:
    """An answer, its price, and the entry it is stored as."""

    message: bytes  # without its "id"
    raw: bytes | None  # Claude's own bytes, for the leader; None if it was streamed
    headers: Mapping[str, str]
    model: str
    usage: Usage
    cost: Nanodollars | None  # None: unpriced
    prices: str | None  # the version of the prices behind `cost`
    paid: bool  # False: `entry` was found by the second look-up, and Claude was not asked
    whole: bool  # False: not a complete message; only the leader gets it
    entry: Entry | None  # as stored
    unstored: str | None  # why it was not stored
    ttl_s: int
    planned: PlannedCall | None = None  # the call; None: none was made
    estimated: bool = False  # the stream was ended here, and Claude's usage never came
    call: str | None = None  # Claude's id of the message; None: nothing was paid for
    lost: int = 0  # tries that may be billed though their usage never came
    heard: Usage | None = None  # usage in the `message_start` of the last of them
    billed: bool = True  # False: a refusal that Claude charges nothing for
    elsewhere: bool = False  # the call was another server's, and `cost` is what that paid

    @classmethod
    def from_entry(cls, entry: Entry) -> Filled:
        """The result of a fill that found its answer stored meanwhile."""
        return cls(
            message=entry.message,
            raw=None,
            headers={},
            model=entry.model,
            usage=entry.usage,
            cost=0,
            prices=None,
            paid=False,
            whole=True,
            entry=entry,
            unstored=None,
            ttl_s=round(entry.expires_at - entry.created_at),
        )

    def landed_elsewhere(self) -> Filled:
        """The same after another server's call was waited for: found, or asked for all the same."""
        if self.paid or self.entry is None:
            return self
        return replace(self, cost=self.entry.cost, elsewhere=True)
