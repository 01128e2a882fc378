"""The options of `scripts/evaluate`, as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scripts.evaluation import mixed
from scripts.evaluation.halves import Half
from scripts.evaluation.served import IndexName
from scripts.evaluation.vectors import CACHE

PARTS = (
    *("pairs", "streams", "zipf", "traps", "logs", "latency"),
    *("shift", "attack", "poison", "cold", "languages", "prose", "verify", "declared"),
)
SECTIONS = ("streams", "cold", "shift", "grid")  # of the part `verify`
TARGETS = (0.01, 0.02, 0.05, 0.10)
DEFAULT = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """The sets, parts and sizes of one evaluation."""

    data: Path
    embedder: Path
    only: str | None = None
    quick: bool = False
    json: Path | None = None
    rows: int = 10_003  # of a stream: all of Banking77's train split
    seeds: int = 5
    other_seeds: int = 2  # of targets other than the default, and of baselines
    parts: tuple[str, ...] = PARTS
    targets: tuple[float, ...] = TARGETS
    dials: tuple[float, ...] = mixed.DIALS
    half: Half = "all"
    # (share of same answers called different, share left open); none: labels as compared
    noise: tuple[tuple[float, float], ...] = ()
    attack: Path | None = None  # near misses and paraphrases by class
    against: Path | None = None  # figures of an earlier version, to judge the same pairs
    sections: tuple[str, ...] = SECTIONS
    verifiers: tuple[str, ...] = ()  # names of `verify.part.MODELS`; none: all
    index: IndexName = "all"  # that finds the neighbours on streams
    cache: Path = CACHE  # of vectors, from one run to the next

    def shortened(self) -> Plan:
        """The plan of `--quick`: each part under a minute once the model is exported."""
        if not self.quick:
            return self
        return replace(
            self,
            rows=min(self.rows, 1_500),
            seeds=1,
            other_seeds=1,
            targets=self.targets[:1],
            dials=self.dials[1:2],
        )

    def seeds_of(self, target: float | None) -> range:
        """The seeds of one row; None: of a baseline."""
        return range(1, (self.seeds if target == DEFAULT else self.other_seeds) + 1)
