"""Kinds of keys about the servers on a store, for the registry. All but one have no content."""

from __future__ import annotations

from typing import Final, Literal

_STAYS: Final[Literal["stays"]] = "stays"
_ALWAYS: Final[Literal["always"]] = "always"
_ORDERED: Final = "a time; ids, names or digests in the key"
_CHANGED: Final = "ids, digests, names of tenants"

# Name, type, key, how it is erased, what it holds, lifetime.
STORAGE: Final = (
    ("schema", "string", "schema", _STAYS, "a number", "always"),
    ("heartbeat", "string", "beats", _STAYS, "a number", "always"),
    ("change_order", "string", "changed:<name>", _STAYS, _ORDERED, "two minutes"),
    ("restoring", "string", "restoring", _STAYS, "a marker", "until the restore ends"),
)
PEERS: Final = (
    ("servers", "sorted set", "peers", _STAYS, "random names, times", "seconds"),
    ("servers_seen", "hash", "peers:seen", _STAYS, "random names, ids", "seconds"),
    ("servers_agreed", "string", "peers:agreed", _STAYS, "a random name", "always"),
    ("servers_many", "string", "many", _STAYS, "a number", "seconds"),
    ("calls", "string", "fl:<key>", _STAYS, "random names; a digest in the key", "seconds"),
    ("call_questions", "string", "fq:T:<key>", _ALWAYS, "the question, its vector", "seconds"),
    ("changes", "stream", "changes", _STAYS, _CHANGED, "the last 100,000"),
    ("roster", "string", "server:<name>", _STAYS, "host names, settings", "seconds"),
    ("work", "string", "work:<name>", _STAYS, "random names, a time", "seconds; a minute"),
)
