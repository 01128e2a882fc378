"""Names of features as people list them: `batches, lint`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

from cacheserver.core.features import FEATURES, Feature


def _listed(value: object) -> object:
    """Split a text at its commas. Raises `ValueError` for a name that is no feature."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must list features, of {', '.join(FEATURES)}")
    found = [name.strip() for name in names if name.strip()]
    for name in found:
        if name not in FEATURES:
            near = get_close_matches(name, FEATURES, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(FEATURES)}"
            raise ValueError(f"no feature has the name {name[:40]!r}; {hint}")
    return tuple(dict.fromkeys(found))


FeatureList: TypeAlias = Annotated[tuple[Feature, ...], BeforeValidator(_listed)]
