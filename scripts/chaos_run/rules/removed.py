"""Answers that were removed or replaced, and are served all the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from scripts.chaos_run.history import (
    UNKNOWN,
    AnswerText,
    Batch,
    Exchange,
    History,
    Removed,
    tag_of,
)
from scripts.chaos_run.rules.answers import same_question
from scripts.chaos_run.rules.failovers import may_undo
from scripts.chaos_run.rules.violation import SLACK_S, Limits, Violation, answer_violation


def removals(history: History, limits: Limits) -> Iterator[Violation]:
    """Find hits on answers that were removed after Claude was asked for them."""
    by_tenant: dict[str, list[Removed]] = defaultdict(list)
    for removed in history.removed:
        if removed.acknowledged:
            by_tenant[removed.tenant].append(removed)
    entries = entry_nonces(history)
    for event in history.exchanges:
        content = event.content
        if content is None or not event.hit:
            continue
        for removed in by_tenant[event.tenant]:
            if (
                event.start > removed.end
                and content.at < removed.start
                and covers(removed, content, event.namespace, entries)
            ):
                ago = event.start - removed.end
                what = f"served {ago:.2f} s after its {removed.kind} by {removed.by}"
                yield answer_violation(f"after-{removed.kind}", event, what)
                break


def replaced(history: History, limits: Limits) -> Iterator[Violation]:
    """After a `no-cache` was answered and stored, nothing older is served to the same question."""
    newest: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for event in history.exchanges:
        if event.refresh and event.stored and event.content:
            newest[where(event)].append((event.end, event.content.at))
    for event in history.exchanges:
        if event.outcome not in ("exact", "stale") or event.content is None:
            continue
        for end, at in newest[where(event)]:
            if (
                event.start > end
                and event.content.at < at
                and not may_undo(history, at, end, by=event.start)
            ):
                what = f"served what was replaced {event.start - end:.2f} s before"
                yield answer_violation("after-refresh", event, what)
                break


def results(history: History, limits: Limits) -> Iterator[Violation]:
    """Results of a batch are its own, to its questions, and gone once they are erased."""
    batches = {batch.id: batch for batch in history.batches}
    entries = entry_nonces(history)
    for look in history.lookups:
        batch = batches[look.id]
        for custom_id, content in look.items.items():
            ids = (batch.id, custom_id)
            whose = f"{batch.tenant}/{batch.namespace}"
            if content.whose != UNKNOWN and content.whose.rpartition("/")[0] != whose:
                what = f"a batch of {whose} has the answer of {content.whose}"
                yield Violation("foreign", look.start, what, ids)
            question = batch.questions.get(custom_id, "")
            if not same_question(question, content.question, loosely=True):
                what = f"{question!r} in a batch has the answer to {content.question!r}"
                yield Violation("wrong-answer", look.start, what, ids)
            for removed in history.removed:
                if removed.tenant != batch.tenant or not removed.acknowledged:
                    continue
                if content.at >= removed.start:
                    continue
                of_answer = covers(removed, content, batch.namespace, entries)
                # What was purged is in no later batch; what was erased, in none at all.
                if batch.start > removed.end and of_answer:
                    what = f"in a batch taken {batch.start - removed.end:.1f} s after its"
                elif (
                    removed.kind == "erase"
                    and look.start > removed.end
                    and look.ended_at is not None
                    and look.ended_at + SLACK_S < removed.start
                    and (takes(removed, batch) or (removed.by == "entry" and of_answer))
                ):
                    what = f"in results {look.start - removed.end:.1f} s after its"
                else:
                    continue
                what = f"{question!r} {what} {removed.kind} by {removed.by}"
                yield Violation(f"after-{removed.kind}", look.start, what, ids)
                break


def takes(removed: Removed, batch: Batch) -> bool:
    """Return whether a removal takes a whole batch with it: only an erasure does."""
    name = {"tag": batch.tag, "namespace": batch.namespace}.get(removed.by)
    return removed.kind == "erase" and removed.tenant == batch.tenant and removed.name == name


def covers(
    removed: Removed, content: AnswerText, namespace: str, entries: Mapping[str, str]
) -> bool:
    """Return whether a removal covers a stored answer of its tenant."""
    return {
        "entry": entries.get(removed.name) == content.nonce,
        "tag": tag_of(content.question) == removed.name,
        "namespace": namespace == removed.name,
    }[removed.by]


def entry_nonces(history: History) -> Mapping[str, str]:
    """Map each cache entry to the nonce of its answer."""
    return {
        event.entry: event.content.nonce
        for event in history.exchanges
        if event.entry and event.content
    }


def where(event: Exchange) -> tuple[str, str, str]:
    """Return the tenant, the namespace and the question of a request."""
    return event.tenant, event.namespace, event.question
