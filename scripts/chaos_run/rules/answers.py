"""Statuses, times and contents of answers."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos_run.history import UNKNOWN, Exchange, History
from scripts.chaos_run.rules.violation import SLACK_S, Limits, Violation, answer_violation

# An answer whose making nobody saw may have been stored so much later than Claude was asked.
LATEST_STORED_S = 90.0


def statuses(history: History, limits: Limits) -> Iterator[Violation]:
    """No 500 of ours, an error of Claude's as Claude gave it, and no body that is none."""
    for event in history.exchanges:
        if event.broken is not None:
            yield answer_violation("malformed", event, event.broken)
        given = history.passed.get(event.request_id or "")
        if given is not None and event.status != given:
            yield answer_violation("passed-on", event, f"Claude's {given} became {event.status}")
        elif given is None and event.status == 500:
            yield answer_violation("status-500", event, "answered 500")
    for call in history.called:
        ids = (call.request_id,) if call.request_id else ()
        if call.status == 500 and history.passed.get(call.request_id or "") != 500:
            yield Violation("status-500", call.start, f"{call.what}: answered 500", ids)
        if call.wrong is not None:
            yield Violation("wrong", call.start, f"{call.what}: {call.wrong}", ids)


def in_time(history: History, limits: Limits) -> Iterator[Violation]:
    """Nothing takes longer than its limit, what it was stopped for not counted."""
    for event in history.exchanges:
        took = event.end - event.start - event.lost_s
        if took > event.limit_s * limits.scale:
            yield answer_violation("over-limit", event, f"took {took:.1f} s of {event.limit_s:.1f}")
    for call in history.called:
        took = call.end - call.start - call.lost_s
        if took > call.limit_s * limits.scale:
            what = f"{call.what} took {took:.1f} s of {call.limit_s:.1f}"
            yield Violation("over-limit", call.start, what)


def right_answers(history: History, limits: Limits) -> Iterator[Violation]:
    """An answer is to this question, and was made for this tenant and namespace."""
    first: dict[str, Exchange] = {}
    for event in sorted(history.exchanges, key=lambda event: event.start):
        content = event.content
        if content is None:
            continue
        whose = f"{event.tenant}/{event.namespace}"
        if content.whose != UNKNOWN and content.whose.rpartition("/")[0] != whose:
            yield answer_violation("foreign", event, f"got the answer of {content.whose}")
        if content.whose.endswith("/secret") and (not event.secret or event.hit):
            yield answer_violation(
                "foreign", event, "got an answer that was asked for with no-store"
            )
        if not same_question(event.question, content.question, loosely=event.outcome == "semantic"):
            yield answer_violation("wrong-answer", event, f"got the answer to {content.question!r}")
        before = first.setdefault(content.nonce, event)
        if (before.tenant, before.namespace) != (event.tenant, event.namespace):
            what = f"got what {before.tenant}/{before.namespace} got"
            yield answer_violation("foreign", event, what)
        if event.secret and event.hit:
            yield answer_violation("foreign", event, "a hit for who asked with no-store")


def same_question(question: str, other: str, *, loosely: bool) -> bool:
    """Return whether an answer to one is one to the other; `loosely`: in other words, too."""
    if not loosely:
        return question == other
    return question.rpartition(" ")[2] == other.rpartition(" ")[2]


def deadlines(history: History, limits: Limits) -> Iterator[Violation]:
    """Find hits that began after the deadline of their entry and were not marked as stale."""
    made = {
        event.content.nonce: event for event in history.exchanges if event.stored and event.content
    }
    for event in history.exchanges:
        if event.outcome not in ("exact", "semantic") or event.content is None:
            continue
        maker = made.get(event.content.nonce)
        if maker is not None and maker.ttl_s is not None:
            over = maker.end + maker.ttl_s + SLACK_S
        elif event.ttl_s is not None:
            over = event.content.at + event.ttl_s + LATEST_STORED_S
        else:
            continue
        if event.start > over:
            yield answer_violation(
                "after-deadline", event, f"served {event.start - over:.1f} s too late"
            )


def empty(history: History, limits: Limits) -> Iterator[Violation]:
    """No answer that says nothing is stored, or served a second time."""
    for event in history.exchanges:
        if event.blank and (event.hit or event.stored):
            what = "a hit that says nothing" if event.hit else "an answer of nothing was stored"
            yield answer_violation("empty", event, what)


def joined(history: History, limits: Limits) -> Iterator[Violation]:
    """Only who asks in the same way is given what another's call brings while it is under way.

    That is certain of a single server. Of several, one waits for another's call and then reads what
    is stored, which is for all.
    """
    asked = {
        event.content.nonce: event
        for event in history.exchanges
        if event.content is not None and event.outcome == "miss"
    }
    for event in history.exchanges:
        if event.outcome != "coalesced" or event.content is None or event.server:
            continue
        leader = asked.get(event.content.nonce)
        if leader is not None and leader.off != event.off:
            what = f"joined a call made with {leader.off or 'no lever'} off, not {event.off!r}"
            yield answer_violation("joined", event, what)
