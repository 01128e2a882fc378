"""Log formatters, for lines of text or of JSON, each with its request.

Rule: a record is one line. Of an exception it has the type and the place, never the message, which
may contain a user's question.
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
    """Log our own records to stderr from `level` on, and those of libraries from WARNING on.

    At `debug` the Anthropic SDK logs bodies, and a variable of its own turns that on when it is
    imported; so its level is set here, after that.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)
    for name in ("anthropic", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs every failed export, every few seconds; ours are logged once, and counted.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


def set_level(level: str) -> None:
    """Log our own records from `level` on."""
    for name in ("cacheserver", "index"):
        logging.getLogger(name).setLevel(level.upper())


class Text(logging.Formatter):
    """Formatter for people. Control characters are escaped: no value can start a new line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        failed = _failure(record)
        line = self.formatMessage(_stamped(self, record))
        if failed is not None:
            line = f"{line}: {place(failed)}"
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


class Json(logging.Formatter):
    """Formatter for one JSON object a line; a record's `extra={"fields": {...}}` become keys."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        line |= _request()
        failed = _failure(record)
        if failed is not None:
            line["error"] = {"type": _kind(failed), "stack": place(failed)}
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line |= fields
        return json.dumps(line, default=str)  # ASCII: no character of it ends a line


def place(error: BaseException) -> str:
    """Describe an error and its causes by type and place, without messages."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < _CAUSES:
        frames = traceback.extract_tb(seen.__traceback__)[-_FRAMES:]
        where = " < ".join(
            f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)
        )
        parts.append(f"{type(seen).__name__} at {where or 'unknown'}")
        seen = seen.__cause__ or seen.__context__
    return "; from ".join(parts)


def _stamped(formatter: logging.Formatter, record: logging.LogRecord) -> logging.LogRecord:
    """A copy of the record as `formatMessage` wants it; others' handlers get the record itself."""
    copy = logging.makeLogRecord(record.__dict__)
    copy.message = _message(record)
    copy.asctime = formatter.formatTime(record)
    return copy


def _message(record: logging.LogRecord) -> str:
    """Return the message. asyncio's would quote the failed task, its exception and arguments."""
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
    """Return the ids of the request that a line belongs to, if any."""
    seen = request_context.current()
    if seen is None:
        return {}
    found = {"request_id": seen.id}
    if seen.decision_id is not None:
        found["decision_id"] = seen.decision_id
    if seen.trace is not None:
        found |= {"trace_id": seen.trace.trace_id, "span_id": seen.trace.span_id}
    return found
