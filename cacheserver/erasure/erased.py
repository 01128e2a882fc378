"""Result of an erasure, with what it does not reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cacheserver.erasure.store_file import File

SETTINGS_KEPT: Final = "settings and keys, pre-warmed prompts among them"
NOT_ERASED: Final = (
    "money: ledger rows and sums, without names",
    "fitted weights and counts",
    SETTINGS_KEPT,
    "digests that no selector is known of: prompt prefixes (two days), models of turns (an hour)",
)
NOT_REACHED: Final = (
    "backups and exports made before: delete them, or erase again after a restore",
    "snapshots of servers that do not run, until they start",
    "logs uploaded for an audit, until it has ended, and their reports: delete the audits",
    "what receivers of exports, traces and webhooks hold",
    "what Claude keeps",
)

Keys: TypeAlias = Literal["kept", "destroyed with the last pass", "destroyed", "none"]


@dataclass(frozen=True, slots=True)
class Erased:
    """Result of an erasure. `again_at`: time of the second pass (Unix seconds)."""

    removed: dict[str, int]
    file: File  # the store's append-only file
    snapshot: Literal["rewritten", "pending"]
    again_at: float
    unread_files: int  # of the ledger
    set_aside: int  # files and folders in the data directory
    keys: Keys  # of the tenant
    others: bool  # there are servers with data directories of their own

    @property
    def not_reached(self) -> list[str]:
        found = list(NOT_REACHED)
        if self.unread_files:
            found.append(f"{self.unread_files} ledger files: pyarrow is not installed")
        if self.keys.startswith("destroyed"):
            found.append("the tenant's keys in files beside backups (`*.keys`): delete older ones")
        if self.set_aside:
            found.append(
                f"{self.set_aside} files or folders that a repair or a restore kept aside in the "
                "data directory (`*.damaged-*`, `replaced-*`): delete them"
            )
        if self.others:
            found.append(
                "ledger files of other servers, where they do not share a `ledger/` folder: names "
                "are in them until they end"
            )
        return found
