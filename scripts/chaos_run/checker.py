"""What must hold of a history, whatever went wrong while it was made.

A violation is certain: where an acknowledgement is missing or two things overlap, either is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from scripts.chaos_run import money
from scripts.chaos_run.history import UNKNOWN, Answered, History, Removed, tag_of

# After a write to a tenant or a key it holds "within seconds": servers remember one for 3 s.
SETTLED_S = 6.0
# An answer whose making nobody saw may have been stored so much later than Claude was asked.
LATEST_STORED_S = 90.0
SLACK_S = 1.0  # between clocks of processes of one machine, and for rounding to whole seconds


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be."""

    kind: str
    at: float
    what: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """`scale` is how much slower this machine is than the limits were made for, 1 or more."""

    scale: float = 1.0
    rss_growth: int = 64 * 2**20  # bytes a minute within one life, after the first moment
    # More than at the first moment that is warm. Each caller and each call that hangs has a few.
    descriptors: int = 48
    tasks: int = 48


def check(history: History, limits: Limits) -> list[Violation]:
    """All violations, the earliest first."""
    found = [each for rule in RULES for each in rule(history, limits)]
    return sorted(found, key=lambda each: each.at)


def _ids(event: Answered) -> tuple[str, ...]:
    return tuple(id for id in (event.request_id, event.decision, event.entry) if id)


def _told(kind: str, event: Answered, what: str) -> Violation:
    who = f"{event.tenant}/{event.namespace} {event.question!r}"
    return Violation(kind, event.start, f"{who}: {what}", _ids(event))


def statuses(history: History, limits: Limits) -> Iterator[Violation]:
    """No 500, and no body that is none."""
    for event in history.answered:
        if event.status == 500:
            yield _told("status-500", event, "answered 500")
        if event.broken is not None:
            yield _told("malformed", event, event.broken)
    for call in history.called:
        ids = (call.request_id,) if call.request_id else ()
        if call.status == 500:
            yield Violation("status-500", call.start, f"{call.what}: answered 500", ids)
        if call.wrong is not None:
            yield Violation("wrong", call.start, f"{call.what}: {call.wrong}", ids)


def in_time(history: History, limits: Limits) -> Iterator[Violation]:
    """Nothing takes longer than its limit, what it was stopped for not counted."""
    for event in history.answered:
        took = event.end - event.start - event.lost_s
        if took > event.limit_s * limits.scale:
            yield _told("over-limit", event, f"took {took:.1f} s of {event.limit_s:.1f}")
    for call in history.called:
        took = call.end - call.start - call.lost_s
        if took > call.limit_s * limits.scale:
            what = f"{call.what} took {took:.1f} s of {call.limit_s:.1f}"
            yield Violation("over-limit", call.start, what)


def right_answers(history: History, limits: Limits) -> Iterator[Violation]:
    """An answer is to this question, and was made for this tenant and namespace."""
    first: dict[str, Answered] = {}
    for event in sorted(history.answered, key=lambda event: event.start):
        said = event.said
        if said is None:
            continue
        whose = f"{event.tenant}/{event.namespace}"
        if said.whose != UNKNOWN and said.whose.rpartition("/")[0] != whose:
            yield _told("foreign", event, f"got the answer of {said.whose}")
        if said.whose.endswith("/secret") and (not event.secret or event.hit):
            yield _told("foreign", event, "got an answer that was asked for with no-store")
        if not same_question(event.question, said.question, loosely=event.outcome == "semantic"):
            yield _told("wrong-answer", event, f"got the answer to {said.question!r}")
        before = first.setdefault(said.nonce, event)
        if (before.tenant, before.namespace) != (event.tenant, event.namespace):
            what = f"got what {before.tenant}/{before.namespace} got"
            yield _told("foreign", event, what)
        if event.secret and event.hit:
            yield _told("foreign", event, "a hit for who asked with no-store")


def same_question(asked: str, answered: str, *, loosely: bool) -> bool:
    """Return whether an answer to one is one to the other; `loosely`: in other words, too."""
    if not loosely:
        return asked == answered
    return asked.rpartition(" ")[2] == answered.rpartition(" ")[2]


def deadlines(history: History, limits: Limits) -> Iterator[Violation]:
    """No hit begins after the deadline of what it serves, unless it says that it is stale."""
    made = {event.said.nonce: event for event in history.answered if event.stored and event.said}
    for event in history.answered:
        if event.outcome not in ("exact", "semantic") or event.said is None:
            continue
        maker = made.get(event.said.nonce)
        if maker is not None and maker.ttl_s is not None:
            over = maker.end + maker.ttl_s + SLACK_S
        elif event.ttl_s is not None:
            over = event.said.at + event.ttl_s + LATEST_STORED_S
        else:
            continue
        if event.start > over:
            yield _told("after-deadline", event, f"served {event.start - over:.1f} s too late")


def removals(history: History, limits: Limits) -> Iterator[Violation]:
    """Nothing is served that Claude was asked for before it was removed."""
    by_tenant: dict[str, list[Removed]] = defaultdict(list)
    for removed in history.removed:
        if removed.acknowledged:
            by_tenant[removed.tenant].append(removed)
    entries = entry_nonces(history)
    for event in history.answered:
        said = event.said
        if said is None or not event.hit:
            continue
        for removed in by_tenant[event.tenant]:
            if event.start > removed.end and said.at < removed.start:
                covers = {
                    "entry": entries.get(removed.name) == said.nonce,
                    "tag": tag_of(said.question) == removed.name,
                    "namespace": event.namespace == removed.name,
                }[removed.by]
                if covers:
                    ago = event.start - removed.end
                    what = f"served {ago:.2f} s after its {removed.kind} by {removed.by}"
                    yield _told(f"after-{removed.kind}", event, what)
                    break


def replaced(history: History, limits: Limits) -> Iterator[Violation]:
    """After a `no-cache` was answered and stored, nothing older is served to the same question."""
    newest: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for event in history.answered:
        if event.refresh and event.stored and event.said:
            newest[_where(event)].append((event.end, event.said.at))
    for event in history.answered:
        if event.outcome not in ("exact", "stale") or event.said is None:
            continue
        for end, at in newest[_where(event)]:
            if event.start > end and event.said.at < at:
                what = f"served what was replaced {event.start - end:.2f} s before"
                yield _told("after-refresh", event, what)
                break


def lost(history: History, limits: Limits) -> Iterator[Violation]:
    """Find what was said to be stored and is gone before its deadline or removal."""
    asked: dict[tuple[str, str, str], list[Answered]] = defaultdict(list)
    entries: dict[str, str] = {}  # of which question
    for event in history.answered:
        asked[_where(event)].append(event)
        if event.entry:
            entries[event.entry] = event.said.question if event.said else event.question
    for (tenant, namespace, question), events in asked.items():
        removals = [
            removed
            for removed in history.removed
            if removed.tenant == tenant
            and removed.name
            in {"tag": (tag_of(question),), "namespace": (namespace,)}.get(
                removed.by, [entry for entry, of in entries.items() if of == question]
            )
        ]
        for missed in events:
            if not _missed(missed):
                continue
            before = [e for e in events if e.stored and e.said and e.end <= missed.start]
            if not before:
                continue
            last = max(before, key=lambda event: event.end)
            assert last.said is not None
            if last.ttl_s is None or last.said.at + last.ttl_s <= missed.end + SLACK_S:
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
            what = (
                f"{last.entry} is gone {missed.start - last.end:.1f} s after it was acknowledged: "
                f"{missed.status} {missed.outcome} {missed.reason}"
            )
            yield _told("lost", missed, what)


def _missed(event: Answered) -> bool:
    """Return whether the server looked, and says that nothing is stored."""
    if event.probe:
        return event.status is not None and event.outcome != "exact"
    return event.outcome == "miss" and event.reason in ("empty", "below-threshold", "vetoed")


def _where(event: Answered) -> tuple[str, str, str]:
    return event.tenant, event.namespace, event.question


def entry_nonces(history: History) -> Mapping[str, str]:
    """Which answer an entry is."""
    return {
        event.entry: event.said.nonce for event in history.answered if event.entry and event.said
    }


def revoked_keys(history: History, limits: Limits) -> Iterator[Violation]:
    """A key that was revoked lets nobody in; every other one does."""
    over = {revoked.key: revoked for revoked in history.revoked}
    for event in history.answered:
        revoked = over.get(event.key)
        if revoked is None:
            if event.status == 401:
                yield _told("key-refused", event, "a good key was refused")
        elif (
            event.status is not None
            and event.status < 400
            and event.start > revoked.end + SETTLED_S * limits.scale
        ):
            after = event.start - revoked.end
            yield _told("after-revocation", event, f"let in {after:.1f} s after")


def bars(history: History, limits: Limits) -> Iterator[Violation]:
    """No semantic hit where only exact ones are allowed."""
    for event in history.answered:
        if event.outcome != "semantic":
            continue
        for closed in history.closed:
            if (
                (closed.tenant, closed.namespace) == (event.tenant, event.namespace)
                and closed.start + SETTLED_S * limits.scale < event.start
                and event.end < closed.end
            ):
                yield _told("below-bar", event, "a semantic hit where `exact_only` holds")
                break


def ledger(history: History, limits: Limits) -> Iterator[Violation]:
    """The ledger and Claude's invoice agree, and each answer has its row."""
    for at, what, ids in money.differences(history):
        yield Violation("ledger", at, what, ids)


def flat(history: History, limits: Limits) -> Iterator[Violation]:
    """Within one life nothing grows but what is stored."""
    lives = defaultdict(list)
    for sample in sorted(history.samples, key=lambda sample: sample.at):
        lives[sample.life].append(sample)
    for samples in lives.values():
        # The first is from before anything was warm.
        base, later = samples[min(1, len(samples) - 1)], samples[2:]
        for sample in later:
            minutes = 1 + (sample.at - base.at) / 60
            grown = sample.rss - base.rss
            if grown > limits.rss_growth * minutes:
                what = f"memory grew by {grown >> 20} MiB in {minutes - 1:.1f} min"
                yield Violation("memory", sample.at, what)
            more = sample.descriptors - base.descriptors
            if more > limits.descriptors:
                yield Violation("descriptors", sample.at, f"{more} more files are open")
            if sample.tasks is not None and base.tasks is not None:
                more = sample.tasks - base.tasks
                if more > limits.tasks:
                    yield Violation("tasks", sample.at, f"{more} more tasks run")


RULES: tuple[Callable[[History, Limits], Iterator[Violation]], ...] = (
    *(statuses, in_time, right_answers, deadlines, removals, replaced),
    *(lost, revoked_keys, bars, ledger, flat),
)
