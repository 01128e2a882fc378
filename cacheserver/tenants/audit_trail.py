"""The audit trail: every change by an admin, with who made it, when and what it changed.

    P audittrail       stream: the last 10,000 changes by keys with the role `all`, each as JSON
    P audittrail:tune  stream: the same by keys with the role `tune`

Such a key can make many cheap changes, and must push out none that only `all` may make.

Rule: it holds names, ids, numbers and settings. Texts of questions and answers, and secrets, are
never in it: of a request's body only the names of its fields, of a setting only what `differences`
shows. It is no content, so an erasure leaves it.
"""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from cacheserver.core.errors import BadRequest
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.replication import run_waiting

MAX_CHANGES: Final = 10_000  # some 4 MB; the oldest beyond it are dropped

_PAGE = 1_000  # changes that are read and filtered at a time, some 2 ms
_TUNE = ":tune"  # ends the key of the second stream, and the ids of its changes
_CURSOR = re.compile(rf"[0-9]{{1,20}}-[0-9]{{1,20}}({_TUNE})?")
_MOST_SHOWN = 100  # settings of one change
_NOT_SHOWN = "(not shown)"
# Settings that hold secrets, addresses with secrets in them, or prompts.
_SECRET = re.compile(
    r"secret|password|credential|webhook|slack|mail|url|prewarm|prompt|system|text"
)
_WORD = re.compile(r"[\w.:-]{1,64}")  # a name of a model, a mode, a veto: no sentence, no address


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change. `method` and `route` are those of the request, or `command` and its name."""

    at: float
    who: str  # the name of the admin key, or who ran the command
    key_id: str | None  # None: the key of the setting, or a command
    role: str
    method: str
    route: str  # the template, without the ids
    tenant: str | None = None
    target: Mapping[str, str] = field(default_factory=dict)  # the ids in the path
    fields: Sequence[str] = ()  # names of the body's fields
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # as of `differences`
    status: int | None = None  # of the response; None: recorded before the change was made
    request_id: str | None = None


def by_command(
    change: str, *, tenant: str | None = None, target: Mapping[str, str] | None = None
) -> AuditRecord:
    """Return the record of a command that changed something: its author is the machine's user."""
    try:
        user = getpass.getuser()
    except OSError:  # a user id without a name, as in containers
        user = "unknown"
    return AuditRecord(
        at=round(time.time(), 3),
        who=f"command line ({user})",
        key_id=None,
        role="all",
        method="command",
        route=f"cacheserver {change}",
        tenant=tenant,
        target=target or {},
    )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Filter of a listing; None: all. Times are Unix seconds: `since` <= a change < `until`."""

    who: str | None = None
    tenant: str | None = None
    route: str | None = None
    since: float | None = None
    until: float | None = None

    def takes(self, shown: Mapping[str, Any]) -> bool:
        return (
            self.who in (None, shown["who"])
            and self.tenant in (None, shown["tenant"])
            and self.route in (None, shown["route"])
            and (self.since is None or shown["at"] >= self.since)
            and (self.until is None or shown["at"] < self.until)
        )


class AuditTrail:
    """Store of the audit trail. Every method raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX, most: int = MAX_CHANGES) -> None:
        self._redis = redis
        self._key = f"{prefix}audittrail"
        self._most = most

    @property
    def takeovers(self) -> int:
        """Return how often a replica of the store has taken over."""
        return self._redis.recent.takeovers

    async def add(self, record: AuditRecord, *, since: int | None = None) -> None:
        """Record a change; beyond the bound the oldest of its stream is dropped.

        Replicas have the change then, where they follow. `since`: the takeovers before it was made.
        Raises `NotReplicated` if it may be lost.
        """
        row = orjson.dumps(asdict(record))
        key = self._key + (_TUNE if record.role == "tune" else "")
        words = ("XADD", key, "MAXLEN", "=", self._most, "*", "r", row)
        await run_waiting(self._redis, *words, since=since)

    async def page(
        self, wanted: AuditFilter, *, limit: int, cursor: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return changes, newest first, and the cursor of the next page; None: there is none.

        Raises `BadRequest` for a cursor that is none.
        """
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise BadRequest("cursor", "must be the `next` of an earlier page")
        found: list[dict[str, Any]] = []
        streams = [self._newest(ending, cursor) for ending in ("", _TUNE)]
        heads = [await anext(stream, None) for stream in streams]
        while any(heads):
            newest = max(range(len(heads)), key=lambda at: _place(heads[at]))
            shown = heads[newest]
            assert shown is not None
            if wanted.takes(shown):
                if len(found) == limit:
                    return found, found[-1]["id"]
                found.append(shown)
            heads[newest] = await anext(streams[newest], None)
        return found, None

    async def _newest(self, ending: str, cursor: str | None) -> AsyncIterator[dict[str, Any]]:
        """Yield the changes of a stream that come after a cursor in the list, newest first."""
        end = "+"
        if cursor is not None:
            id, _, _ = cursor.partition(":")
            # Ids of two streams may be equal: then the one with the role `tune` comes first.
            end = id if cursor.endswith(_TUNE) and not ending else f"({id}"
        key = self._key + ending
        while True:
            rows = await command(self._redis, "XREVRANGE", key, end, "-", "COUNT", _PAGE)
            for change_id, row in rows:
                yield {"id": change_id.decode() + ending, **orjson.loads(row[b"r"])}
            if len(rows) < _PAGE:
                return
            end = f"({rows[-1][0].decode()}"


def _place(shown: Mapping[str, Any] | None) -> tuple[int, int, bool]:
    """Return the place of a change in time; of none, before all."""
    if shown is None:
        return (-1, 0, False)
    ms, _, rest = shown["id"].partition("-")
    number, _, role = rest.partition(":")
    return (int(ms), int(number), bool(role))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings that differ, by path: `{"bar.target": {"before": ..., "after": ...}}`.

    Numbers, switches and single words are shown; longer texts and secrets are not.
    """
    old, new = dict(_leaves("", before)), dict(_leaves("", after))
    changed = [path for path in {**old, **new} if old.get(path) != new.get(path)]
    return {
        path[:200]: {"before": _shown(path, old.get(path)), "after": _shown(path, new.get(path))}
        for path in changed[:_MOST_SHOWN]
    }


def _leaves(path: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        return [
            leaf
            for name, inner in value.items()
            for leaf in _leaves(f"{path}.{name}" if path else str(name), inner)
        ]
    return [(path, value)] if path else []  # no settings at all are no setting


def _shown(path: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET.search(path):
        return _NOT_SHOWN
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    if isinstance(value, list | tuple) and all(
        isinstance(one, int | float) or (isinstance(one, str) and _WORD.fullmatch(one))
        for one in value
    ):
        return list(value[:_MOST_SHOWN])
    return {} if value == {} else _NOT_SHOWN
