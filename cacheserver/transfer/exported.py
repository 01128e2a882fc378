"""Items of an export, read as entries and labels of the same tenant on another server. No I/O.

Rule: an entry is of the tenant that imports, whatever the file says. The file's digests cannot be
computed here, for a request is not stored; a forged one of another tenant is never found, since a
look-up reads whose the entry is (`cache.stored_answer`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from math import isfinite
from typing import Any, Final, get_args

from cacheserver.cache import cacheability, fingerprint
from cacheserver.cache.controls import MAX_TAGS, stored_tag
from cacheserver.cache.store.stored_entry import new_id
from cacheserver.cache.ttl import longest
from cacheserver.calibration.states import decode
from cacheserver.claude import sse
from cacheserver.core import names
from cacheserver.core.errors import BadRequest
from cacheserver.core.evidence import Evidence
from cacheserver.core.rules.bounds import NAME, SCOPE
from cacheserver.core.types import Entry, Usage
from cacheserver.matching.calibration import Label, Source
from cacheserver.transfer.import_store import IMPORT_TAG, ImportJob
from cacheserver.transfer.planned import Planned, PlannedLabel
from cacheserver.transfer.plans import LONGEST_QUESTION, Place
from cacheserver.transfer.records import Problem

_DIGEST: Final = re.compile(r"[0-9a-f]{1,64}")
_MARKS: Final = ("actor", "conversation")  # digests, or null
_AUTHORS: Final = ("curated_by", "put_by")
_NUMBERS: Final = {one.name for one in fields(Usage) if one.type == "int"}
_MOST: Final = 2**53
_MEASURES: Final = ("cosine", "margin", "share", "pull", "second", "prior", "crowd")
_MOST_WEIGHT: Final = 10_000.0  # a label stands for so many hits at most: a sample of 0.01%
_LONGEST_WORD: Final = 200


def plan_item(
    place: Place, job: ImportJob, item: Mapping[str, Any]
) -> Planned | PlannedLabel | Problem:
    """Plan an item of an export."""
    where = str(item.get("where", ""))[:200]
    try:
        match item.get("kind"):
            case "entry":
                return _entry(place, job, item, where)
            case "label":
                return _label(item, where)
    except BadRequest as wrong:
        return Problem(where, wrong.message)
    return Problem(where, "is of a kind that this version does not know")


def _label(item: Mapping[str, Any], where: str) -> PlannedLabel | Problem:
    row = item.get("label")
    label = decode(row) if isinstance(row, dict) else None
    if not isinstance(row, dict) or label is None or not _sound(label):
        return Problem(where, "is a label that this version cannot read")
    return PlannedLabel(where, SCOPE.check("scope", item.get("scope")), row)


def _sound(label: Label) -> bool:
    """Return whether a label has the types that a fit relies on."""
    texts = (label.embedder, label.caller, label.evidence.group, label.evidence.entry)
    return (
        all(type(one) is bool for one in (label.right, label.served))
        and label.source in get_args(Source)
        and all(isinstance(one, str) and len(one) <= _LONGEST_WORD for one in texts)
        and (label.namespace is None or isinstance(label.namespace, str))
        and all(map(_number, (label.weight, label.adjustment, label.at)))
        and 0 < label.weight <= _MOST_WEIGHT
        and all(_measured(one) for one in (label.evidence, label.foil) if one is not None)
    )


def _measured(found: Evidence) -> bool:
    optional = (found.recorded_probability, found.coverage)
    numbers = [getattr(found, name) for name in _MEASURES]
    return (
        all(map(_number, (*numbers, *(one for one in optional if one is not None))))
        and type(found.company) is int
        and type(found.twin) is bool
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _entry(place: Place, job: ImportJob, item: Mapping[str, Any], where: str) -> Planned | Problem:
    message, question = item.get("message"), item.get("question")
    if not isinstance(message, dict):
        return Problem(where, "`message` must be an object")
    if (why := cacheability.unstorable(message)) is not None:
        return Problem(where, f"its answer may not be stored: {why}")
    if question is not None and not isinstance(question, str):
        return Problem(where, "`question` must be a text, or null")
    if len(question or "") > LONGEST_QUESTION:
        return Problem(where, f"the question has more than {LONGEST_QUESTION:,} characters")
    created, ends = _time(item, "created_at"), _time(item, "expires_at")
    if ends <= place.now:
        return Problem(where, "has expired")
    given = [stored_tag("tags", one) for one in _list("tags", item.get("tags"))]
    refused = _list("refused_to", item.get("refused_to", []))  # older exports have none
    refused_to = tuple(dict.fromkeys(SCOPE.check("refused_to", one) for one in refused))
    tags = dict.fromkeys(one for one in (*given, *job.tags) if not one.startswith(IMPORT_TAG))
    if len(tags) >= 2 * MAX_TAGS:  # context keys are tags beside those of the caller
        return Problem(where, "has too many tags")
    author = {name: _author(item, name) for name in _AUTHORS}
    cost = item.get("cost_nanodollars")
    if cost is not None and not (type(cost) is int and 0 <= cost <= _MOST):
        return Problem(where, "`cost_nanodollars` must be a whole number, or null")
    marks = {name: _digest(item, name) for name in _MARKS}
    scope = item.get("scope")
    entry = Entry(
        id=new_id(place.now),
        tenant=place.tenant.name,
        namespace=NAME.check("namespace", item.get("namespace")),
        fingerprint=SCOPE.check("fingerprint", item.get("fingerprint")),
        scope="" if scope == "" else SCOPE.check("scope", scope),
        text=question,
        model=names.read("model", item.get("model"), most=256),
        message=sse.without_id(message),
        usage=_usage(item.get("usage")),
        cost=cost,
        tags=(*tags, job.tag),
        created_at=min(created, place.now),
        expires_at=ends,
        made_up=item.get("made_up") is True,
        **marks,
        **author,
    )
    _, cap_s = fingerprint.volatility(
        () if question is None else (question,), place.tenant, place.language
    )
    most = entry.created_at + longest(entry, place.tenant, cap_s=cap_s)
    if most <= place.now:
        return Problem(where, "is older than the tenant's settings allow")
    if most < ends:
        entry = replace(entry, expires_at=most)
    worth = place.price(entry.model, entry.usage, place.now) or cost or 0
    curated = entry.curated_by is not None
    pin = curated or item.get("pinned") is True
    return Planned(where, entry, worth, curated, pin, refused_to)


def _time(item: Mapping[str, Any], name: str) -> float:
    found = item.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool) or not isfinite(found):
        raise BadRequest(name, "must be Unix seconds")
    if not 0 <= found <= _MOST:
        raise BadRequest(name, "must be Unix seconds")
    return float(found)


def _digest(item: Mapping[str, Any], name: str) -> str | None:
    found = item.get(name)
    if found is None or (isinstance(found, str) and _DIGEST.fullmatch(found)):
        return found
    raise BadRequest(name, "must be a digest, or null")


def _author(item: Mapping[str, Any], name: str) -> str | None:
    return None if item.get(name) is None else names.read(name, item[name], most=200)


def _list(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadRequest(name, "must be a list of strings")
    return value


def _usage(given: object) -> Usage:
    """Read tokens by kind. Raises `BadRequest`."""
    if not isinstance(given, dict):
        raise BadRequest("usage", "must be an object")
    numbers = {name: given.get(name, 0) for name in _NUMBERS}
    if not all(type(one) is int and 0 <= one <= _MOST for one in numbers.values()):
        raise BadRequest("usage", "must have whole numbers of tokens")
    steps = given.get("iterations") or []
    if not isinstance(steps, list) or len(steps) > 1_000:
        raise BadRequest("usage.iterations", "must be a list")
    return replace(
        Usage(**numbers),
        service_tier=_word(given, "service_tier", "standard"),
        speed=_word(given, "speed", "standard"),
        inference_geo=_word(given, "inference_geo", ""),
        iterations=tuple(_step(one) for one in steps),
    )


def _word(given: Mapping[str, Any], name: str, default: str) -> str:
    return names.read(f"usage.{name}", given.get(name, default), most=64, least=0)


def _step(given: object) -> tuple[str, Usage]:
    if not (isinstance(given, list) and len(given) == 2 and isinstance(given[1], dict)):
        raise BadRequest("usage.iterations", "must be pairs of a model and its tokens")
    if given[1].get("iterations"):
        raise BadRequest("usage.iterations", "must not be nested")
    return names.read("usage.iterations", given[0], most=256), _usage(given[1])
