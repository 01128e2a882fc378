"""Reader of a TOML table, key by key. Unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class Wrong(Exception):
    """Invalid value, with the path of its key, such as `kinds[1].repeats.exact`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class Fields:
    """Each key is taken once; every method raises `Wrong` for what it cannot take."""

    def __init__(self, given: object, path: str = "") -> None:
        if not isinstance(given, Mapping):
            raise Wrong(path, "must be a table")
        self._left: dict[str, Any] = dict(given)
        self._path = path

    def at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def has(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, default: object = None) -> Any:
        """Return the value of a key. Without a default the key is required."""
        if key not in self._left and default is None:
            raise Wrong(self.at(key), "is missing")
        return self._left.pop(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or not value.strip():
            raise Wrong(self.at(key), "must be a text")
        return value

    def number(
        self, key: str, default: float | None = None, *, least: float = 0.0, most: float = 1e12
    ) -> float:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(self.at(key), "must be a number")
        if not least <= value <= most:
            raise Wrong(self.at(key), f"must be {least:g} to {most:g}")
        return float(value)

    def whole(
        self, key: str, default: int | None = None, *, least: int = 0, most: int = 10**9
    ) -> int:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(self.at(key), "must be a whole number")
        if not least <= value <= most:
            raise Wrong(self.at(key), f"must be {least} to {most}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise Wrong(self.at(key), "must be true or false")
        return value

    def choice(self, key: str, options: tuple[str, ...], default: str) -> str:
        value = self.take(key, default)
        if value not in options:
            raise Wrong(self.at(key), f"must be one of {', '.join(options)}")
        return str(value)

    def texts(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        value = self.take(key, default)
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise Wrong(self.at(key), "must be a list of texts")
        return tuple(value)

    def table(self, key: str) -> Fields:
        return Fields(self.take(key, {}), self.at(key))

    def tables(self, key: str, default: list[object] | None = None) -> list[Fields]:
        value = self.take(key, default)
        if not isinstance(value, list):
            raise Wrong(self.at(key), "must be a list of tables")
        return [Fields(one, f"{self.at(key)}[{place}]") for place, one in enumerate(value)]

    def done(self) -> None:
        """Refuse keys that were not read."""
        if self._left:
            raise Wrong(self.at(min(self._left)), "is not a key of a scenario")


def line_of(text: str, path: str) -> int:
    """Return the line of a path's last key, from 1; of the enclosing table if it is absent.

    TOML's own parser keeps no positions.
    """
    first, last, lines = 0, None, text.splitlines()
    keys = path.split(".")
    while keys:
        found = re.fullmatch(r"(\w+)\[(\d+)\]", keys[0])
        head = rf"\s*\[+\s*{re.escape('.'.join(keys[:1]) if not found else found[1])}\s*\]+"
        heads = [n for n, line in enumerate(lines) if n >= first and re.match(head, line)]
        place = int(found[2]) if found else 0
        if place >= len(heads):
            break
        first = last = heads[place]
        keys = keys[1:]
    end = len(lines)
    if last is not None:
        later = (n for n in range(first + 1, end) if re.match(r"\s*\[\[", lines[n]))
        end = next(later, end)
    else:
        end = next((n for n in range(end) if re.match(r"\s*\[", lines[n])), end)
    for key in reversed(keys):
        name = re.escape(re.sub(r"\[\d+\]$", "", key))
        for number in range(first, end):
            if re.match(rf"\s*[\"']?(?:\w+\.)*{name}[\"']?\s*=", lines[number]):
                return number + 1
    return (last or 0) + 1
