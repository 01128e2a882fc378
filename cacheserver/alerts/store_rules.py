"""Alert rules for the store. Pure."""

from __future__ import annotations

from typing import Final, Protocol

from cacheserver.alerts.rules import Alert, day_name
from cacheserver.core.times import iso

_DAY_S: Final = 86_400
# A sync runs every second and takes well under one on a healthy disk.
_MOST_UNSYNCED_S: Final = 10.0


class StoreState(Protocol):
    """State of the store from `storage.data_loss_watch`. `lost_at` is Unix seconds."""

    @property
    def lost_at(self) -> float | None: ...
    @property
    def unsynced_s(self) -> float: ...
    @property
    def failing(self) -> bool: ...
    @property
    def unspilled(self) -> bool: ...


def store_alerts(tenant: str, state: StoreState, now: float) -> list[Alert]:
    """Alert on data lost within a day, a failing or slow disk, and unwritable ledger files."""
    found: list[Alert] = []
    if state.lost_at is not None and now - state.lost_at < _DAY_S:
        text = (
            "The store has lost data: it was emptied, restarted without its files, or set back. "
            "Keys, settings, budgets and answers may be gone; restore a backup if this was not "
            "meant."
        )
        # By the minute: a second loss on the same day is a second event.
        period = iso(state.lost_at)[:16]
        found.append(Alert("store-lost", tenant, "", period, text, once_s=2 * _DAY_S))
    if state.failing or state.unsynced_s > _MOST_UNSYNCED_S:
        why = "did not take what was written" if state.failing else "is slow"
        text = (
            f"The store's disk {why}: a power cut would lose the last "
            f"{state.unsynced_s:.0f} seconds. Look at the disk."
        )
        facts = {"unsynced_s": round(state.unsynced_s), "failing": state.failing}
        day = day_name(now)
        found.append(Alert("store-disk", tenant, "", day, text, facts, once_s=2 * _DAY_S))
    if state.unspilled:
        text = (
            "Rows of the ledger cannot be written to their files: the store keeps them, beyond "
            "`CACHESERVER_MAX_LEDGER_BYTES`. Look at the disk of the data directory."
        )
        found.append(Alert("ledger-disk", tenant, "", day_name(now), text, once_s=2 * _DAY_S))
    return found
