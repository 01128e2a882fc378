"""Bounds that stand in a rule's types, for pydantic where rules are read.

The client shares `types` with the server and has no pydantic: nothing here imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

# What each rule class carries as `__pydantic_config__`: nothing unknown, nothing converted.
STRICT: Final = {"extra": "forbid", "strict": True}


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
