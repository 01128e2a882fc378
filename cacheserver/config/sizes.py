"""Sizes as people write them: `512MB`, `32MiB`, `unlimited`."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{unit}B": 1000**power for power, unit in enumerate("KMGT", start=1)}
_UNITS |= {f"{unit}IB": 1024**power for power, unit in enumerate("KMGT", start=1)}
_SIZE = re.compile(r"([0-9]{1,18}) ?([KMGT]?I?B)?", re.IGNORECASE)


def _size(value: object) -> object:
    """Parse `512MB`, `32MiB` or a number into bytes; leave other values to the type to refuse."""
    if not isinstance(value, str) or not (found := _SIZE.fullmatch(value.strip())):
        return value
    return int(found[1]) * _UNITS[(found[2] or "").upper()]


def _limit(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "unlimited" else _size(value)


Bytes: TypeAlias = Annotated[int, BeforeValidator(_size), Field(gt=0)]
BytesLimit: TypeAlias = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(_limit)]
