"""Times as text and lives that several packages share. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

WORK_MS = 7 * 86_400_000  # of what is under way: twice the longest it can be


def iso(at: float) -> str:
    """A time as ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")


def _unix(start: datetime, end: datetime, offset: timedelta) -> tuple[float, float]:
    return (start - offset).timestamp(), (end - offset).timestamp()
