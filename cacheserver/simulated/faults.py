"""Faults on demand: what goes wrong next, in the order it was asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from cacheserver.simulated.directives import MESSAGES, Fault, FaultKind
from cacheserver.simulated.errors import invalid


class Faults:
    """A queue of faults; each is taken by as many requests for its path as it says."""

    def __init__(self) -> None:
        self._waiting: deque[Fault] = deque()

    def add(self, fault: Fault) -> None:
        """Let the next `fault.times` requests for `fault.path` meet `fault`."""
        self._waiting.append(fault)

    def take(self, path: str) -> Fault | None:
        """Return what this request for `path` meets, or None."""
        for index, fault in enumerate(self._waiting):
            if fault.path == path:
                del self._waiting[index]
                if fault.times > 1:
                    self._waiting.insert(index, replace(fault, times=fault.times - 1))
                return fault
        return None

    def clear(self) -> None:
        """Forget the faults that no request has met."""
        self._waiting.clear()

    def __len__(self) -> int:
        return sum(fault.times for fault in self._waiting)


def read(body: Any) -> Fault:
    """Return the fault of a control request. Raises a 400 for one that is malformed."""
    known = {field.name for field in fields(Fault)}
    if not isinstance(body, Mapping) or not known.issuperset(body):
        raise invalid(f"a fault is an object with some of: {', '.join(sorted(known))}")
    if body.get("kind") not in get_args(FaultKind):
        raise invalid(f"`kind`: one of {', '.join(get_args(FaultKind))}")
    fault = Fault(**body)
    if fault.kind != "error" and fault.path != MESSAGES:
        raise invalid(f"`kind`: only errors happen outside {MESSAGES}")
    return fault
