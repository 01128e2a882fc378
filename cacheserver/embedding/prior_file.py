"""Prior files: what `scripts/fit_prior` writes for an embedder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any

from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.prior import RISING, TERMS, Prior

FORMAT = 1


class PriorRefused(Exception):
    """The file is no prior, or that of another embedder."""


def shipped() -> dict[str, Path]:
    """Return the priors that ship, by name."""
    folder = Path(str(resources.files("cacheserver.embedding") / "data"))
    return {file.stem: file for file in sorted(folder.glob("*.json"))}


def read_prior(file: Path, embedder: str | None) -> Prior:
    """Read a prior, fitted for the embedder with this id (None: for any). Raises `PriorRefused`."""
    try:
        found = json.loads(file.read_bytes())
        version, fitted_for = found["format"], found["embedder"]
        weights = {str(name): float(weight) for name, weight in found["weights"].items()}
        scale = CosineScale(tuple((float(a), float(b)) for a, b in found["scale"]))
    except OSError as error:
        raise PriorRefused(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PriorRefused(f"{file} is no prior: make one with `scripts/fit_prior`") from error
    if version != FORMAT or set(weights) != set(TERMS) or not all(map(isfinite, weights.values())):
        raise PriorRefused(f"{file} has other terms than this version; fit it again")
    if any(weights[name] < 0 for name in RISING):
        raise PriorRefused(f"{file} makes a probability fall as the cosine rises")
    if embedder is not None and fitted_for != embedder:
        raise PriorRefused(
            f"{file} was fitted for `{fitted_for}`, and the embedder is `{embedder}`"
        )
    return Prior(weights, scale)


def write_prior(file: Path, embedder: str, prior: Prior, about: Mapping[str, Any]) -> None:
    """Write a prior. `about` says what it was fitted on."""
    listed = {
        "format": FORMAT,
        "embedder": embedder,
        "about": about,
        "scale": prior.scale.knots,
        "weights": {name: round(prior.weights[name], 4) for name in TERMS},
    }
    file.write_text(json.dumps(listed, indent=1) + "\n")
