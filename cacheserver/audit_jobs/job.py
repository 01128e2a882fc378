"""An audit job: its options, its states, and the command that runs it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias, get_args

State: TypeAlias = Literal["queued", "running", "done", "failed"]

_STATES: Final = get_args(State)
REPORT, PAGE = "report.json", "page.html"
INTERRUPTED: Final = "interrupted: the server stopped while it ran; upload the log again"


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """Options of the command. Times are Unix seconds."""

    target: float = 0.01  # highest share of wrong semantic hits
    ttl_s: int = 3_600
    since: float | None = None
    until: float | None = None
    one_tenant: bool = False
    wrong_hit_usd: float = 0.0
    verify_model: str | None = None
    tenant: str | None = None  # whose target and lifetime were taken


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """Progress: bytes while it is `reading`, requests while it is `replaying`."""

    phase: str
    done: int
    whole: int
    seconds: float  # since the phase began

    @property
    def per_second(self) -> float | None:
        return round(self.done / self.seconds, 1) if self.seconds >= 1 else None

    @property
    def left_s(self) -> float | None:
        """Return the seconds left in the phase; None if that cannot be told yet."""
        if self.seconds < 1 or not self.done:
            return None
        return round(self.seconds * max(0, self.whole - self.done) / self.done, 1)


@dataclass(frozen=True, slots=True)
class AuditJob:
    """An upload and what became of it. Times are Unix seconds."""

    id: str
    name: str  # of the uploaded file
    bytes: int
    options: AuditOptions
    created_at: float
    state: State = "queued"
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    summary: Mapping[str, Any] | None = None  # of the report
    progress: AuditProgress | None = None  # while it runs

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed")

    @property
    def place(self) -> tuple[float, str]:
        """Return its place in the list of all, in which the newest comes first."""
        return self.created_at, self.id

    def failed(self, error: str, now: float) -> AuditJob:
        return replace(self, state="failed", error=error, ended_at=now, progress=None)


def stored(job: AuditJob) -> dict[str, Any]:
    """Return a job as JSON values, to be read by `read_stored`."""
    return {**asdict(job), "progress": None}


def read_stored(found: Mapping[str, Any]) -> AuditJob:
    """Read a stored job; fields that another version wrote are left out.

    Raises `ValueError`, `TypeError` or `LookupError` if it is none.
    """
    if found["state"] not in _STATES:
        raise ValueError("another state")
    options = AuditOptions(**_known(AuditOptions, found["options"]))
    return AuditJob(**{**_known(AuditJob, found), "options": options})


def _known(kind: type[AuditJob] | type[AuditOptions], found: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: found[one.name] for one in fields(kind) if one.name in found}


def read_progress(line: Mapping[str, Any]) -> AuditProgress | None:
    """Read a line of the command's progress; None if it is another."""
    try:
        return AuditProgress(
            str(line["phase"]), int(line["done"]), int(line["whole"]), float(line["seconds"])
        )
    except (LookupError, TypeError, ValueError):
        return None


def summary_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a report what a list of audits shows: counts and amounts, no texts of the log."""
    read = report["read"]
    return {
        **{name: read[name] for name in ("requests", "lines", "bad", "from", "to")},
        "bad_shown": list(read["bad_shown"]),
        "spent_usd": report["spent_usd"],
        "saved_usd": report["saved_usd"],
        "month": report["month"],
    }


def arguments(
    options: AuditOptions, log: str, folder: str, *, prices: str | None = None
) -> Sequence[str]:
    """Return the arguments of `cacheserver audit` for a log; reports go into `folder`.

    `prices` is a price file; None: those of the package.
    """
    words = [
        *("audit", log, "--json-file", f"{folder}/{REPORT}", "--html", f"{folder}/{PAGE}"),
        *("--progress-json", "--processes", "1", "--target", repr(options.target)),
        *("--ttl", str(options.ttl_s), "--wrong-hit-usd", repr(options.wrong_hit_usd)),
    ]
    for option, at in (("--since", options.since), ("--until", options.until)):
        if at is not None:
            words += (option, f"{at:.6f}")
    if prices is not None:
        words += ("--prices", prices)
    if options.verify_model is not None:
        words += ("--verify-model", options.verify_model)
    return (*words, "--one-tenant") if options.one_tenant else words
