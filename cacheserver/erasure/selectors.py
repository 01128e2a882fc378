"""The scope of an erasure: records by their marks, decisions by what they quote. Pure.

Rule: a record is covered by what it was made with, never by what its text says. What came in after
the erasure is not covered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from cacheserver.cache import controls
from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.core import actors
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Tenant

Kind: TypeAlias = Literal["entry_id", "tag", "conversation", "actor", "namespace", "tenant"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ENTRY_ID = re.compile(r"[0-9a-f]{32}")
_LISTED = ", ".join(f"`{kind}`" for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Selector:
    """The selector of an erasure in a tenant. Actors are known by digest only, in `values`."""

    kind: Kind
    values: tuple[str, ...]
    namespace: str = "default"  # of a conversation

    def covers(
        self,
        *,
        namespace: str | None = None,
        tags: Sequence[str] = (),
        actor: str | None = None,
        conversation: str | None = None,
    ) -> bool:
        """Return True if a record with these marks is covered. An entry's id is no mark."""
        match self.kind:
            case "tenant":
                return True
            case "namespace":
                return namespace in self.values
            case "tag":
                return any(tag in self.values for tag in tags)
            case "actor":
                return actor is not None and actor in self.values
            case "conversation":
                return conversation is not None and conversation == self.conversation
            case "entry_id":
                return False

    @property
    def conversation(self) -> str:
        """The mark of the conversation that is erased."""
        return conversation_mark(self.namespace, self.values[0])


def read(fields: Mapping[str, Any], tenant: Tenant) -> Selector:
    """Return the selector in a request's fields. Raises `BadRequest` naming the field."""
    given = [kind for kind in KINDS if kind in fields]
    if unknown := fields.keys() - set(KINDS):
        raise BadRequest(min(unknown)[:64], f"is not known here; {_LISTED} are")
    if given == ["conversation", "namespace"]:
        given = ["conversation"]  # the namespace qualifies the conversation's name
    if len(given) != 1:
        raise BadRequest(given[1] if given else "entry_id", f"give one of {_LISTED}")
    kind, value = given[0], fields[given[0]]
    match kind:
        case "entry_id":
            if not isinstance(value, str) or not _ENTRY_ID.fullmatch(value):
                raise BadRequest(kind, "must be the id of a stored answer: 32 hex digits")
            return Selector(kind, (value,))
        case "tag":
            return Selector(kind, (controls.stored_tag(kind, value),))
        case "actor":
            return Selector(kind, actors.marks_of(kind, value, tenant))
        case "tenant":
            if value != tenant.name:
                raise BadRequest(kind, "must be the name of the tenant that is erased: your own")
            return Selector(kind, (tenant.name,))
        case "conversation":
            space = controls.name("namespace", fields.get("namespace", "default"))
            return Selector(kind, (controls.name(kind, value),), space)
        case "namespace":
            return Selector(kind, (controls.name(kind, value),))


def covers_decision(
    selector: Selector, record: Mapping[str, Any], entries: Set[str], *, at: float
) -> bool:
    """Return whether a decision's record is covered.

    By its marks, if it was asked until `at` (Unix s; what a job asks came with it). By the entry it
    is about at any time: whoever was served it asked what it answers, mostly in the same words.
    """
    if record.get("entry_id") in entries:
        return True
    return float(record.get("received_at", record["at"])) <= at and selector.covers(
        namespace=record.get("namespace"),
        tags=record.get("tags") or (),
        actor=record.get("actor"),
        conversation=record.get("conversation"),
    )


def quoted(record: Mapping[str, Any]) -> list[str]:
    """The entries whose questions a decision's record quotes."""
    shown = record.get("decision") or {}
    found = [one["entry"] for one in shown.get("candidates", ()) if one.get("question")]
    if shown.get("question") is not None and shown.get("candidate"):
        found.append(shown["candidate"])
    return found


def unquoted(record: Mapping[str, Any], gone: Iterable[str]) -> dict[str, Any]:
    """The record without the questions of the entries in `gone`."""
    out = set(gone)
    shown = dict(record["decision"])
    if shown.get("candidate") in out:
        shown["question"] = None
    shown["candidates"] = [
        {**one, "question": None} if one["entry"] in out else one
        for one in shown.get("candidates", ())
    ]
    return {**record, "decision": shown}
