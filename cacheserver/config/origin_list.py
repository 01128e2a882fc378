"""Web origins as people list them: `https://app.example.com, http://localhost:3000`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

# As browsers send it: no path, no user, lower case; a port only where it is not the scheme's own.
_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORT: Final = re.compile(r"http://.*:80|https://.*:443")


def _listed(value: object) -> object:
    """Split a text at its commas. Raises `ValueError` for what no browser sends as an origin."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise ValueError("must list origins, such as `https://app.example.com`")
    found = [one.strip() for one in given if one.strip()]
    for one in found:
        if one == "*":
            raise ValueError("`*` is no origin; list each, such as `https://app.example.com`")
        if not _ORIGIN.fullmatch(one) or _DEFAULT_PORT.fullmatch(one):
            raise ValueError(
                f"{one[:80]!r} is no origin as browsers send it: scheme and host in lower case, a "
                "port only if it is not the scheme's own, and no path or `/` after it"
            )
    return tuple(dict.fromkeys(found))


OriginList: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed)]
