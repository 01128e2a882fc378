"""Checks that nothing acknowledged was lost.

What a replica that took over lacks is no violation, and is counted instead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from scripts.chaos_run.history import (
    TALK,
    Batch,
    BatchLookup,
    Exchange,
    History,
    Listing,
    tag_of,
)
from scripts.chaos_run.rules.failovers import may_undo
from scripts.chaos_run.rules.removed import takes, where
from scripts.chaos_run.rules.violation import SLACK_S, Limits, Violation, answer_violation


def lost(history: History, limits: Limits) -> Iterator[Violation]:
    """Find answers that were acknowledged as stored and vanished before expiry or removal."""
    for missed, last in _lost(history):
        if _undone(history, last, missed.start):
            continue
        what = (
            f"{last.entry} is gone {missed.start - last.end:.1f} s after it was acknowledged: "
            f"{missed.status} {missed.outcome} {missed.reason}"
        )
        yield answer_violation("lost", missed, what)


def answers_undone(history: History) -> set[str | None]:
    """Return the entries that were lost as a replica took over."""
    return {last.entry for missed, last in _lost(history) if _undone(history, last, missed.start)}


def _undone(history: History, stored: Exchange, by: float) -> bool:
    assert stored.content is not None
    return may_undo(history, stored.content.at, stored.end, by=by)


def _lost(history: History) -> Iterator[tuple[Exchange, Exchange]]:
    """Each request that missed, with the one whose answer it should have found."""
    asked: dict[tuple[str, str, str], list[Exchange]] = defaultdict(list)
    entries: dict[str, str] = {}  # of which question
    for event in history.exchanges:
        if event.namespace == TALK:  # the same question in another conversation is another one
            continue
        asked[where(event)].append(event)
        if event.entry:
            entries[event.entry] = event.content.question if event.content else event.question
    for (tenant, namespace, question), events in asked.items():
        removals = [
            removed
            for removed in history.removed
            if removed.tenant == tenant
            and {
                "tag": removed.name == tag_of(question),
                "namespace": removed.name == namespace,
                "entry": entries.get(removed.name) == question,
            }[removed.by]
        ]
        for missed in events:
            if not _missed(missed):
                continue
            before = [e for e in events if e.stored and e.content and e.end <= missed.start]
            if not before:
                continue
            last = max(before, key=lambda event: event.end)
            assert last.content is not None
            if last.ttl_s is None or last.content.at + last.ttl_s <= missed.end + SLACK_S:
                continue
            if any(r.end > last.start and r.start < missed.end for r in removals):
                continue
            # Another call in between may have replaced it by what lives shorter.
            if any(
                other is not last
                and other is not missed
                and not other.hit
                and not other.secret
                and not other.probe
                and other.end > last.start
                and other.start < missed.end
                for other in events
            ):
                continue
            yield missed, last


def _missed(event: Exchange) -> bool:
    """Return whether the server looked, and says that nothing is stored."""
    if event.probe:
        return event.status is not None and event.outcome != "exact"
    return event.outcome == "miss" and event.reason in ("empty", "below-threshold", "vetoed")


def batches(history: History, limits: Limits) -> Iterator[Violation]:
    """A batch that was taken is there until it is erased."""
    for look, batch in _lost_batches(history):
        if may_undo(history, batch.start, batch.end, by=look.start):
            continue
        what = (
            f"a batch of {batch.tenant} is gone {look.start - batch.end:.1f} s after it was taken"
        )
        yield Violation("lost", look.start, what, (batch.id,))


def batches_undone(history: History) -> set[str]:
    """Return the ids of batches that were lost as a replica took over."""
    return {
        batch.id
        for look, batch in _lost_batches(history)
        if may_undo(history, batch.start, batch.end, by=look.start)
    }


def _lost_batches(history: History) -> Iterator[tuple[BatchLookup, Batch]]:
    taken = {batch.id: batch for batch in history.batches}
    for look in history.lookups:
        batch = taken[look.id]
        if look.status == 404 and not any(
            takes(removed, batch) and removed.end > batch.start and removed.start < look.end
            for removed in history.removed
        ):
            yield look, batch


def turns(history: History, limits: Limits) -> Iterator[Violation]:
    """A conversation has each question that was kept."""
    for listing, question in _lost_turns(history, undone=False):
        what = f"{question!r} is no turn of {listing.tenant}/{listing.talk} any more"
        yield Violation("lost", listing.at, what)


def turns_undone(history: History) -> set[tuple[str, str, str]]:
    """Return the turns that were lost as a replica took over: tenant, conversation, question."""
    found = _lost_turns(history, undone=True)
    return {(listing.tenant, listing.talk, question) for listing, question in found}


def _lost_turns(history: History, *, undone: bool) -> Iterator[tuple[Listing, str]]:
    """Find missing turns, those that a failover may undo or the others."""
    for listing in history.listings:
        kept = Counter(listing.questions or ())
        own = [
            (may_undo(history, turn.end, turn.end, by=listing.at), turn.question)
            for turn in history.turns
            if (turn.tenant, turn.talk) == (listing.tenant, listing.talk) and turn.end < listing.at
        ]
        for may, question in sorted(own):  # those that must be there first
            if kept[question]:
                kept[question] -= 1
            elif may == undone:
                yield listing, question
