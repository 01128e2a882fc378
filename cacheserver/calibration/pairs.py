"""Recommends bars from labelled pairs and from shadow mode; teaches a scope pairs, if asked."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cacheserver.calibration import what_if_rules
from cacheserver.calibration.precision_curve import (
    Point,
    Scored,
    at,
    curve,
    fewest,
    recommended,
    safest,
)
from cacheserver.calibration.states import States
from cacheserver.calibration.what_if_rules import LabelledCandidate, rate_as_json
from cacheserver.core.errors import BadRequest
from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.decision import ScoredCandidate

MAX_PAIRS = 20_000  # some two minutes of embedding
MAX_TAUGHT = calibration.WINDOW  # pairs: a scope is fitted to no more labels

_OPERATOR = "operator"  # whose labels they are, beside those of callers


@dataclass(frozen=True, slots=True)
class Lesson:
    """Scope that is to learn labelled pairs."""

    tenant: str
    scope: str
    confirm: bool  # False: nothing is learned


class Pairs:
    """Scores labelled pairs as a decision would, and reports on shadow mode."""

    def __init__(
        self,
        *,
        vector: Callable[[str], Awaitable[Any | None]],
        scale: CosineScale,
        judged: Callable[[str, str, float], ScoredCandidate],
        states: States,
    ) -> None:
        self._vector = vector
        self._scale = scale
        self._judged = judged
        self._states = states

    async def calibrate(
        self,
        pairs: Sequence[tuple[str, str, bool]],
        target: float,
        teach: Lesson | None = None,
    ) -> dict[str, Any]:
        """Return two curves over the pairs, by probability and by cosine, and the bar for `target`.

        Vetoed pairs are counted, but on no curve: no bar serves them. With `teach` the others are
        learned as an admin's labels of a scope. Raises `StoreError`.
        """
        labels: list[tuple[str, Label]] = []
        level = conformal_bound.bar_for(Calibration(), target).level
        by: dict[str, list[Scored]] = {"probability": [], "similarity": []}
        by_target: list[Scored] = []  # what a target serves before a scope has labels
        unread = vetoed = 0
        for one, other, right in pairs:
            a, b = await self._vector(one), await self._vector(other)
            if a is None or b is None:
                unread += 1
                continue
            similarity = self._scale(float(a @ b))
            judged = self._judged(one, other, similarity)
            if judged.veto is not None:
                vetoed += 1
                continue
            if teach is not None and judged.evidence is not None:
                labels.append(self._label(one, other, judged, judged.evidence, right))
            by["similarity"].append(Scored(round(similarity, 6), right))
            by["probability"].append(Scored(round(judged.probability, 6), right))
            if judged.probability >= level and judged.supported is not False:
                by_target.append(Scored(1.0, right))
        total = len(pairs)
        return {
            "pairs": total,
            "unread": unread,  # too long for the embedder, or unreadable: never matched
            "vetoed": vetoed,
            "target": target,
            **{
                name: {"curve": [asdict(point) for point in curve(scored, total=total)]}
                for name, scored in by.items()
            },
            "recommended": _recommended(by["similarity"], by_target, target, total=total),
            **({} if teach is None else {"taught": await self._teach(teach, labels)}),
        }

    def _label(
        self, one: str, other: str, judged: ScoredCandidate, evidence: Evidence, right: bool
    ) -> tuple[str, Label]:
        """Return a pair as a label, and its name. It is of no entry: its group is its own."""
        words = f"{len(one)}:{one}{other}:{right}"
        name = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        found = replace(evidence, group=name, entry=name, recorded_probability=judged.probability)
        label = Label(
            evidence=found,
            right=right,
            weight=1.0,
            source="admin",
            served=False,
            embedder=self._states.embedder,
            caller=_OPERATOR,
        )
        return name, label

    async def _teach(self, lesson: Lesson, labels: Sequence[tuple[str, Label]]) -> dict[str, Any]:
        """Learn labels, if it is confirmed. A pair that is sent again within a day counts once."""
        counted = 0
        if lesson.confirm:
            for name, label in labels:
                learned = await self._states.learn(
                    lesson.tenant, lesson.scope, label, once=f"taught:{name}"
                )
                counted += learned is not None
        return {
            "tenant": lesson.tenant,
            "scope": lesson.scope,
            "labels": len(labels),
            "counted": counted,  # the others exceed the part of one caller
            "dry_run": not lesson.confirm,
        }

    async def shadow(
        self, tenant: str, target: float, at: Mapping[str, float] | None = None
    ) -> dict[str, Any]:
        """Report on the last questions that came near a stored one in shadow mode.

        `at` names further bars to report on, by `probability` and by `similarity`.
        """
        rows = await self._states.shadow_window(tenant)
        total = sum(1 + row.get("alone", 0) for row in rows)
        served = [_labelled(row, 1.0) for row in rows if row["served"]]
        would_have = rate_as_json(what_if_rules.rate(served, 1.0, total=total))
        del would_have["bar"]
        report: dict[str, Any] = {
            "compared": len(rows),
            "asked": total,
            "would_have": would_have,
        }
        for name in ("probability", "similarity"):
            # What a veto refuses no bar serves.
            near = [row for row in rows if row.get("veto") is None and row.get(name) is not None]
            candidates = [_labelled(row, row[name]) for row in near]
            report[name] = {
                "curve": [
                    rate_as_json(point) for point in what_if_rules.rates(candidates, total=total)
                ],
            }
            if name == "similarity":
                report["recommended"] = _threshold(candidates, target, total=total)
            if at is not None and name in at:
                report[name]["at"] = rate_as_json(
                    what_if_rules.rate(candidates, at[name], total=total)
                )
        return report


def read_pairs(fields: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Read pairs from `pairs` or `tsv`. Raises `BadRequest` naming the field or the line."""
    if ("pairs" in fields) == ("tsv" in fields):
        raise BadRequest("pairs", "give `pairs` or `tsv`, one of them")
    rows = _lines(fields["tsv"]) if "tsv" in fields else fields["pairs"]
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_PAIRS:
        raise BadRequest("pairs", f"must be a list of 1 to {MAX_PAIRS} pairs")
    return [_pair(f"pairs.{place}", row) for place, row in enumerate(rows)]


def _lines(text: object) -> list[dict[str, str]]:
    if not isinstance(text, str) or not text.strip():
        raise BadRequest("tsv", "must be a table with tabs and a header line")
    numbered = enumerate(text.splitlines(), start=1)
    (first, header), *lines = [(number, line) for number, line in numbered if line.strip()]
    columns = header.split("\t")
    if missing := {"query_a", "query_b", "label"} - set(columns):
        raise BadRequest("tsv", f"line {first} has no column `{min(missing)}`")
    rows = []
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise BadRequest("tsv", f"line {number} has {len(cells)} cells, not {len(columns)}")
        row = dict(zip(columns, cells, strict=True))
        if row["label"] not in ("0", "1"):
            raise BadRequest("tsv", f"line {number}: `label` must be 0 or 1")
        for name in ("query_a", "query_b"):
            if not row[name].strip():
                raise BadRequest("tsv", f"line {number}: `{name}` must be a question")
        rows.append(row)
    return rows


def _pair(field: str, row: object) -> tuple[str, str, bool]:
    if not isinstance(row, Mapping):
        raise BadRequest(field, "must be an object")
    for name in ("query_a", "query_b"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadRequest(f"{field}.{name}", "must be a question")
    if (right := label_of(row.get("label"))) is None:
        raise BadRequest(f"{field}.label", "must be 0 or 1")
    return row["query_a"], row["query_b"], right


def label_of(value: object) -> bool | None:
    """Read a person's label: 0 or 1; None for anything else."""
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    return {"0": False, "1": True}.get(str(value))


def _labelled(row: Mapping[str, Any], score: float) -> LabelledCandidate:
    return LabelledCandidate(score, row["right"], worth=row["saved"])


def _recommended(
    by_similarity: Sequence[Scored], by_target: Sequence[Scored], target: float, *, total: int
) -> dict[str, Any]:
    """Return the bar to set and why; null if the pairs show none that keeps `target`.

    A target is preferred to a threshold that serves no more: it learns, and closes if it is
    exceeded.
    """
    threshold = recommended(by_similarity, target, total=total)
    held = at(by_target, 1.0, total=total)
    if held.wrong_high <= target and (threshold is None or held.hits >= threshold.hits):
        return {"bar": {"target": target}, "why": _reason(held, target, total)}
    if threshold is not None:
        return {"bar": {"similarity": threshold.bar}, "why": _reason(threshold, target, total)}
    needed, best = fewest(target), safest(by_similarity, total=total)
    if best is None or len(by_similarity) < needed:
        why = f"{needed} pairs without one wrong are needed to show a target of {target:.4g}; of "
        why += f"the {total} given the vetoes let {len(by_similarity)} through"
    else:
        why = f"no threshold keeps {target:.4g}: at {best.bar:.4f}, where the fewest are wrong, "
        why += f"it is {best.wrong} of {best.hits}, and may be {best.wrong_high:.2%}"
    return {"bar": None, "why": why}


def _threshold(
    candidates: Sequence[LabelledCandidate], target: float, *, total: int
) -> dict[str, Any]:
    """Return the threshold that shadow mode shows to keep `target`, and why."""
    best = what_if_rules.recommended(candidates, target, total=total)
    if best is not None:
        why = f"would have served {best.hits} of {total} questions, {best.wrong} of them wrong: "
        why += f"with 95% confidence at most {best.wrong_high:.2%}"
        return {"bar": {"similarity": best.bar}, "why": why}
    labelled, needed = sum(one.right is not None for one in candidates), fewest(target)
    why = f"no threshold is shown to keep {target:.4g}: {needed} answers that were compared, none "
    why += f"of them wrong, are needed at least; there are {labelled}"
    return {"bar": None, "why": why}


def _reason(point: Point, target: float, total: int) -> str:
    return (
        f"serves {point.hits} of {total} pairs, {point.wrong} of them wrong: with 95% confidence "
        f"at most {point.wrong_high:.2%}"
    )
