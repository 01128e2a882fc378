"""The sets of a data folder: pair files and streams, known by their columns, not their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.pairs import sets
from scripts.pairs.evaluate import cleaned
from scripts.pairs.types import Pair

# Same intent, other answer: what is asked for stands in the question ("what is 4 times 9").
# CLINC150's names (its rows have a domain too): the facts' list, gone on with by name.
_NAMES = (
    *("translate", "weather", "calculator", "exchange_rate", "timer", "definition", "spelling"),
    *("alarm", "reminder_update", "measurement_conversion", "directions", "distance", "traffic"),
    *("nutrition_info", "calories", "recipe", "restaurant_reviews", "restaurant_suggestion"),
    *("restaurant_reservation", "book_flight", "book_hotel", "car_rental", "time", "timezone"),
    *("ingredient_substitution", "ingredients_list", "cook_time", "food_last"),
    *("shopping_list_update", "todo_list_update", "make_call", "text", "transfer"),
    *("calendar_update", "schedule_meeting", "play_music", "update_playlist"),
)  # fmt: skip
PARAMETRIC = frozenset(_NAMES)
UNLIKE = frozenset(("oos",))  # no intent at all: each its own answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a stream; one answer serves all of one `meaning`."""

    text: str
    meaning: str
    topic: str  # what its answer is about
    trap: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """What a data folder holds."""

    pairs: Mapping[str, Sequence[Pair]]
    streams: Mapping[str, Sequence[Asked]]
    logs: Mapping[str, Sequence[str]]  # questions without labels, in order


def read(folder: Path, only: str | None = None) -> Folder:
    """Every file whose columns are known; `only` keeps sets whose name contains it.

    The files of one folder make one stream. Raises `ValueError` for a file that has the columns
    but not the rows.
    """
    pairs: dict[str, Sequence[Pair]] = {}
    streams: dict[str, list[Asked]] = defaultdict(list)
    logs: dict[str, Sequence[str]] = {}
    for path in sorted(folder.glob("*/*.tsv")):
        name = f"{path.parent.name}/{path.stem}"
        if only is not None and only not in name:
            continue
        with path.open(encoding="utf-8") as file:
            columns = frozenset(file.readline().rstrip("\n").split("\t"))
        if {"query_a", "query_b", "label"} <= columns:
            pairs.update(_pair_sets(path, name, columns))
        elif {"query", "intent"} <= columns:
            streams[path.parent.name] += _stream(path)
        elif {"Date", "Query"} <= columns:
            logs[path.parent.name] = [row["Query"] for row in sets.rows(path)]
    return Folder(pairs, streams, logs)


def _pair_sets(path: Path, name: str, columns: frozenset[str]) -> Iterator[tuple[str, list[Pair]]]:
    # Easy QQP pairs an embedder refuses by itself: only the slice that resembles is judged.
    if "char4_jaccard" in columns:
        hard = [p for p in sets.read_qqp(path, hard=True) if p.a != p.b]
        yield f"{name} hard", hard
        yield f"{name} hard, cleaned", cleaned(hard)
        return
    by = next((c for c in ("category", "test") if c in columns), None)
    try:
        yield name, sets.read(path, name, by=by)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"`{path}`: every row needs two questions and a label 0 or 1") from problem


def _stream(path: Path) -> Iterator[Asked]:
    for row in sets.rows(path):
        text, intent = row["query"], row["intent"]
        if intent in UNLIKE or ("domain" in row and intent in PARAMETRIC):
            yield Asked(text, f"{intent}: {' '.join(text.lower().split())}", text)
        else:
            yield Asked(text, intent, intent.replace("_", " "))
