"""Bounds and forms in the types of rules, for pydantic where rules are read.

The client shares `types` with the server and has no pydantic: nothing here imports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cacheserver.core.errors import BadRequest

# What each rule class carries as `__pydantic_config__`: nothing unknown, nothing converted.
STRICT: Final = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True, slots=True)
class Bound:
    """Least and most of a number, inclusive; or of the number of characters or items."""

    least: float | None = None
    most: float | None = None
    above: float | None = None  # exclusive
    pattern: str | None = None  # of a text, from end to end

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        schema = handler(source)
        sized = schema["type"] in ("str", "list", "tuple", "dict")
        names = ("min_length", "max_length") if sized else ("ge", "le")
        for name, value in zip(names, (self.least, self.most), strict=True):
            if value is not None:
                schema[name] = value
        if self.above is not None:
            schema["gt"] = self.above
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema


@dataclass(frozen=True, slots=True)
class Form:
    """Form of a text, from end to end, and the message for a text that does not have it."""

    regex: re.Pattern[str]
    message: str

    def check(self, field: str, value: object) -> str:
        """Return `value` if it has the form. Raises `BadRequest` naming `field`."""
        if not isinstance(value, str) or not self.regex.fullmatch(value):
            raise BadRequest(field, self.message)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return {
            "type": "custom-error",
            "schema": {**handler(source), "pattern": f"^(?:{self.regex.pattern})$"},
            "custom_error_type": "form",
            "custom_error_message": self.message,
        }


# Names of namespaces, tasks and tenants are parts of digests and keys, and are shown unescaped.
NAME: Final = Form(
    re.compile(r"[A-Za-z0-9._-]{1,64}"), "must be 1 to 64 letters, digits, `.`, `_` or `-`"
)
# Tags name the caller's objects (`user:42`, `docs/intro`), hence `:` and `/`.
TAG: Final = Form(
    re.compile(r"[A-Za-z0-9._:/-]{1,64}"),
    "each tag must be 1 to 64 letters, digits, `.`, `_`, `:`, `/` or `-`",
)
# Keys of what an answer rests on: ids and versions of documents (`kb@v42`, a digest, a path).
CONTEXT: Final = Form(
    re.compile(r"[A-Za-z0-9._:/@-]{1,128}"),
    "each key must be 1 to 128 letters, digits, `.`, `_`, `:`, `/`, `@` or `-`",
)
SCOPE: Final = Form(re.compile(r"[0-9a-f]{64}"), "a scope is 64 lower-case hex digits")
