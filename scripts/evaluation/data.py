"""The sets of a data folder: pair files, streams and logs, known by their columns, not names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.evaluation.meanings import PARAMETRIC, Rule, meaning
from scripts.pairs.evaluate import cleaned
from scripts.pairs.sets import HARD
from scripts.pairs.types import Pair

_PAIRS = frozenset(("query_a", "query_b", "label"))
_STREAM = frozenset(("query", "intent"))
_LOG = frozenset(("Date", "Query"))
_HERE = Path(__file__).parent


class Malformed(Exception):
    """A file that cannot be judged; the message is one line that names it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a stream; one answer serves all of one `meaning`."""

    text: str
    meaning: str
    topic: str  # what its answer is about
    intent: str = ""
    trap: bool = False
    domain: str = ""  # where the set names one
    caller: str = ""  # who asks; labels are capped by caller
    answer: str = ""  # what comparing answers sees, where that is not the meaning


@dataclass(frozen=True, slots=True)
class Logged:
    """A question of a log, and the day it was asked."""

    day: str
    text: str


@dataclass(frozen=True, slots=True)
class Folder:
    """The data sets of one folder, each by name."""

    pairs: Mapping[str, Sequence[Pair]]
    streams: Mapping[str, Sequence[Question]]
    logs: Mapping[str, Sequence[Logged]]  # without labels, in order
    whole: Mapping[str, Sequence[Pair]]  # pair files with every row, also the easy ones
    attacks: Mapping[str, Sequence[Pair]]  # of these, those with classes, named as the source


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # folder/stem
    columns: frozenset[str]


def read(folder: Path, only: str | None = None) -> Folder:
    """Every file whose columns are known; `only` keeps sets whose name contains it.

    The files of one folder make one stream; where its intents are parametric, a second one by the
    rule for rewordings. Raises `Malformed`.
    """
    pairs: dict[str, Sequence[Pair]] = {}
    streams: dict[str, list[Question]] = defaultdict(list)
    logs: dict[str, list[Logged]] = defaultdict(list)
    whole: dict[str, Sequence[Pair]] = {}
    attacks: dict[str, Sequence[Pair]] = {}
    for file in _files(folder, only):
        if file.columns >= _PAIRS:
            told = _listed(file)
            whole[file.name] = [pair for pair, _ in told]
            pairs.update(_pair_sets(file, told))
            if "class" in file.columns:
                attacks[file.name] = whole[file.name]
        elif file.columns >= _STREAM:
            name = file.path.parent.name
            listed = [row for _, row in _rows(file.path)]
            streams[name] += _stream(listed, "strict")
            if any(_parametric(row) for row in listed):
                streams[f"{name}, reworded"] += _stream(listed, "reworded")
        elif file.columns >= _LOG:
            rows = (row for _, row in _rows(file.path))
            logs[file.path.parent.name] += [Logged(row["Date"], row["Query"]) for row in rows]
    if not (pairs or streams or logs):
        wanted = "" if only is None else f" whose name contains `{only}`"
        raise Malformed(f"`{folder}` holds no set{wanted}: no */*.tsv with known columns")
    return Folder(pairs, streams, logs, whole, attacks)


def pairs_of(path: Path) -> list[Pair]:
    """The pairs of one file; the source is their class where the file has classes.

    Raises `Malformed`.
    """
    file = _file(path)
    if not file.columns >= _PAIRS:
        raise Malformed(f"`{path}`: the header lacks {', '.join(sorted(_PAIRS - file.columns))}")
    return [pair for pair, _ in _listed(file)]


def own() -> dict[str, list[Pair]]:
    """Pairs written for this project: how users ask a support desk, and developers a tool."""
    return {f"own/{name}": pairs_of(_HERE / f"{name}.tsv") for name in ("support", "developer")}


def _files(folder: Path, only: str | None) -> Iterator[_File]:
    for path in sorted(folder.glob("*/*.tsv")):
        if only is None or only in f"{path.parent.name}/{path.stem}":
            yield _file(path)


def _file(path: Path) -> _File:
    with path.open("rb") as file:
        head = file.readline().decode("utf-8", "replace")
    columns = frozenset(head.rstrip("\r\n").split("\t"))
    return _File(path, f"{path.parent.name}/{path.stem}", columns)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a tab-separated file with a header and no quoting."""
    columns: list[str] = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                fields = raw.decode("utf-8").rstrip("\r\n").split("\t")
            except UnicodeDecodeError as problem:
                raise Malformed(f"`{path}`, line {number}: not UTF-8") from problem
            if number == 1:
                columns = fields
            elif len(fields) != len(columns):
                raise Malformed(
                    f"`{path}`, line {number}: {len(fields)} columns, the header has {len(columns)}"
                )
            else:
                yield number, dict(zip(columns, fields, strict=True))


def _listed(file: _File) -> list[tuple[Pair, bool]]:
    """Every pair of a file, and whether its questions resemble each other as far as is told."""
    by = next((c for c in ("category", "test", "class") if c in file.columns), None)
    listed: list[tuple[Pair, bool]] = []
    for number, row in _rows(file.path):
        if row["label"] not in ("0", "1"):
            raise Malformed(
                f"`{file.path}`, line {number}: `label` is {row['label'][:20]!r}, not 0 or 1"
            )
        source = file.name if by is None else row[by] if by == "class" else f"{file.name}:{row[by]}"
        pair = Pair(row["query_a"], row["query_b"], int(row["label"]), source)
        told = row.get("char4_jaccard")
        near = told is None or _number(file.path, number, told) >= HARD
        listed.append((pair, near and (told is None or pair.a != pair.b)))
    return listed


def _pair_sets(
    file: _File, listed: Sequence[tuple[Pair, bool]]
) -> Iterator[tuple[str, list[Pair]]]:
    # Easy pairs an embedder refuses by itself: only the slice that resembles is judged.
    near = [pair for pair, resembles in listed if resembles]
    if "char4_jaccard" in file.columns:
        yield f"{file.name} hard", near
        yield f"{file.name} hard, cleaned", cleaned(near)
    else:
        yield file.name, near


def _number(path: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError as problem:
        raise Malformed(
            f"`{path}`, line {line}: `char4_jaccard` is {text[:20]!r}, not a number"
        ) from problem


def _parametric(row: Mapping[str, str]) -> bool:
    return "domain" in row and row["intent"] in PARAMETRIC


def _stream(rows: Sequence[Mapping[str, str]], rule: Rule) -> Iterator[Question]:
    for row in rows:
        text, intent = row["query"], row["intent"]
        named = meaning(text, intent, parametric=_parametric(row), rule=rule)
        # An answer is about the intent where all of it has one, else about what was asked.
        topic = intent.replace("_", " ") if named == intent else text
        yield Question(text, named, topic, intent, domain=row.get("domain", ""))
