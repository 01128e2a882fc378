"""What is logged, as lines of text or of JSON, each with the request it belongs to.

Rule: a record is one line, and of an exception it has kind and place, never the message: that may
hold what somebody asked.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

from cacheserver.core import request_context

Form: TypeAlias = Literal["text", "json"]

_FRAMES = 8  # of a failure, the innermost: where it happened and who called
_CAUSES = 5

# What ends a line for some reader, or moves a terminal's cursor.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def install(level: str, form: Form) -> None:
    """Log our own words to stderr from `level` on, and others' only when they warn.

    At `debug` the Anthropic SDK logs bodies, and a variable of its own turns that on when it is
    imported; so its level is set here, after that.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(handlers=[handler], force=True)
    for name in ("cacheserver", "index"):
        logging.getLogger(name).setLevel(level.upper())
    for name in ("anthropic", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Of exports that fail it tells with each, every few seconds; ours tell once, and are counted.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


class Text(logging.Formatter):
    """A line for people. Control characters are spelt out: no value can make a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        failed = _failure(record)
        line = self.formatMessage(_stamped(self, record))
        if failed is not None:
            line = f"{line}: {place(failed)}"
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


class Json(logging.Formatter):
    """One JSON object a line; `extra={"fields": {...}}` of a record are keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        told |= _request()
        failed = _failure(record)
        if failed is not None:
            told["error"] = {"type": _kind(failed), "stack": place(failed)}
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        told |= fields
        return json.dumps(told, default=str)  # ASCII: no character of it ends a line


def place(error: BaseException) -> str:
    """The kind of an error and of its causes, and where they were raised. No messages."""
    told: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < _CAUSES:
        frames = traceback.extract_tb(seen.__traceback__)[-_FRAMES:]
        where = " < ".join(
            f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)
        )
        told.append(f"{type(seen).__name__} at {where or 'unknown'}")
        seen = seen.__cause__ or seen.__context__
    return "; from ".join(told)


def _stamped(formatter: logging.Formatter, record: logging.LogRecord) -> logging.LogRecord:
    """A copy of the record as `formatMessage` wants it; others' handlers get the record itself."""
    copy = logging.makeLogRecord(record.__dict__)
    copy.message = _message(record)
    copy.asctime = formatter.formatTime(record)
    return copy


def _message(record: logging.LogRecord) -> str:
    """The record's words. asyncio's quote the task that failed, its exception and arguments."""
    if record.name != "asyncio":
        return record.getMessage()
    if _failure(record) is not None:
        return "a task or a callback failed"
    return record.getMessage().partition("\n")[0]


def _failure(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _request() -> dict[str, str]:
    """Which request a line belongs to, where it was written on behalf of one."""
    seen = request_context.current()
    if seen is None:
        return {}
    found = {"request_id": seen.id}
    if seen.decision_id is not None:
        found["decision_id"] = seen.decision_id
    if seen.trace is not None:
        found |= {"trace_id": seen.trace.trace_id, "span_id": seen.trace.span_id}
    return found
