"""Rules for what is passed on to Anthropic: shapes of paths, and what the server's key may do.

With a caller's own key every path of a safe shape is passed on: what it reaches is theirs. With the
server's key, which all tenants share, a path must be of a kind that is known to cost nothing and to
have ids that can be told apart by who made them. All else is refused, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

# `.` and `..` begin with no letter; there is no `%`, backslash or space to be read in two ways.
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@~-]{0,255}")
_MOST_SEGMENTS = 12  # the SDK's deepest path has 7
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Skills of Anthropic's own are called `pdf`, `xlsx`: everybody's, and read only.
_PREBUILT_SKILL = re.compile(r"[a-z][a-z-]{0,31}")

# Kinds that cost nothing to keep, whose ids Anthropic makes: who made one is recorded.
OWNED: Final = frozenset(
    {"agents", "environments", "files", "memory_stores", "skills", "user_profiles", "vaults"}
)
_RUNS: Final = "runs models beyond the one request, so no tenant's budget could hold what it costs"
_ACCOUNT: Final = "belongs to the whole account that the server's key is of"
UNKNOWN: Final = "is not known here, so neither its price nor whose it is could be told"
REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("deployment_runs", "deployments", "dreams", "sessions"), _RUNS),
    **dict.fromkeys(("compliance", "organizations", "tunnels"), _ACCOUNT),
}
_FIX: Final = "; callers with their own keys may use it (`CACHESERVER_CREDENTIALS=caller`)"

# What a Messages request names by id: a file in a block or for a container, and a skill.
_NAMED_HINTS: Final = (b'"file_id"', b'"skill_id"')
# A sign of ASCII, written as an escape; `\\u00e9` and the like are in no name of these.
_ESCAPE: Final = b"\\u00"
_ESCAPES: Final = tuple(_ESCAPE + digit for digit in (b"2", b"3", b"4", b"5", b"6", b"7"))
_NAMED = re.compile(rb'"(?:file_id|skill_id)"\s*:\s*"([A-Za-z0-9_-]{1,128})"')
USER_PROFILE: Final = "anthropic-user-profile-id"  # a header that names one
# Any string that looks like an id of Anthropic's: a word, `_`, and what is not guessed.
_ID_LIKE = re.compile(rb'"([a-z]{2,20}_[A-Za-z0-9_-]{8,128})"')

# What a page of a list may say besides its items; a count would tell of others.
_OF_PAGES: Final = frozenset({"first_id", "has_more", "last_id", "next_page", "prev_page"})
# Kinds that are made of files, whose bodies are not JSON.
UPLOADED: Final = frozenset({"files", "skills"})

Act: TypeAlias = Literal["create", "list", "use", "read"]


@dataclass(frozen=True, slots=True)
class Place:
    """A path under `/v1/`, in its segments."""

    segments: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.segments[0]

    @property
    def id(self) -> str:
        """The id after the kind; only where there is one."""
        return self.segments[1]

    @property
    def path(self) -> str:
        return "/v1/" + "/".join(self.segments)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason for which the server's key is not used for a request."""

    reason: str


def read(path: str, raw_path: bytes) -> Place | None:
    """Return a path in its segments; None for one that is not safe to pass on.

    `path` is decoded, `raw_path` as it was sent: a slash that was encoded is part of a segment for
    one reader and ends it for another.
    """
    head, slash, rest = path.partition("/v1/")
    if head or not slash or b"%2f" in raw_path.partition(b"?")[0].lower():
        return None
    segments = tuple(rest.split("/"))
    if len(segments) > _MOST_SEGMENTS or not all(map(_SEGMENT.fullmatch, segments)):
        return None
    return Place(segments)


def act(method: str, place: Place) -> Act | Refusal:
    """Return what a request with the server's key does, or why it is refused.

    `use` needs an id that the tenant made; `read` one that is everybody's.
    """
    kind, alone = place.kind, len(place.segments) == 1
    if kind not in OWNED:
        return Refusal(f"`/v1/{kind}` {REFUSED.get(kind, UNKNOWN)}{_FIX}")
    if alone:
        match method:
            case "POST":
                return "create"
            case "GET":
                return "list"
        return Refusal(f"`/v1/{kind}` is not known to take {method}{_FIX}")
    if kind == "skills" and method == "GET" and _PREBUILT_SKILL.fullmatch(place.id):
        return "read"
    return "use"


def is_id(text: object) -> bool:
    """Return whether an answer's `id` can be recorded."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def ends(method: str, place: Place) -> bool:
    """Return whether a request, if it succeeds, leaves nothing of the id."""
    return method == "DELETE" and len(place.segments) == 2


def may_name(body: bytes) -> bool:
    """Return whether a Messages body might name an id. Cheap, and False only if it does not."""
    return has_escapes(body) or any(hint in body for hint in _NAMED_HINTS)


def has_escapes(body: bytes) -> bool:
    """Return whether a letter of an id may be written as an escape."""
    return _ESCAPE in body and any(escape in body for escape in _ESCAPES)


def named(body: bytes) -> list[str]:
    """Return the ids of files and skills that a Messages body names. It holds no escaped letter."""
    return list(dict.fromkeys(found.decode() for found in _NAMED.findall(body)))


def id_like(body: bytes) -> list[str]:
    """Return all strings of a JSON body that look like ids. It holds no escaped letter."""
    return list(dict.fromkeys(found.decode() for found in _ID_LIKE.findall(body)))


def of_everybody(item: Mapping[str, Any]) -> bool:
    """Return whether an item of a list is Anthropic's own, for all to see."""
    return item.get("source") in ("anthropic", "anthropic_example")


def next_cursor(page: Mapping[str, Any], *, backwards: bool = False) -> tuple[str, str] | None:
    """Return the query parameter that asks for the page after this one; None: it is the last.

    `backwards`: the list is read from its end, so the page after this one is before it.
    """
    if backwards:
        if page.get("has_more") and isinstance(first := page.get("first_id"), str):
            return "before_id", first
        return None
    if isinstance(cursor := page.get("next_page"), str) and cursor:
        return "page", cursor
    if page.get("has_more") and isinstance(last := page.get("last_id"), str):
        return "after_id", last
    return None


def filtered(page: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a page of a list with these items alone, and no id of another."""
    shown = {name: value for name, value in page.items() if name in _OF_PAGES}
    shown["data"] = list(items)
    for name, at in (("first_id", 0), ("last_id", -1)):
        if name in page:
            shown[name] = items[at].get("id") if items else None
    return shown
