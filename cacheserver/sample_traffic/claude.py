"""Answers of the simulated Claude to the sample: the written ones, instead of an echo."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from cacheserver.core.tasks import blocks_of
from cacheserver.sample_traffic import traffic
from cacheserver.simulated import Directives, Fault
from cacheserver.simulated.directives import question

_SLOW_S: Final = 0.05  # of an answer: requests sent at the same moment meet on their way


def direct(body: Mapping[str, Any]) -> Directives | None:
    """Return what to answer to a request of the sample; None for every other request."""
    if not _system_of(body).startswith(traffic.MARK):
        return None
    asked = question(body)
    if asked == traffic.FAILS:
        return Directives(fault=Fault("error", status=traffic.FAILED_STATUS, should_retry=False))
    text = _answers().text.get(asked)
    return None if text is None else Directives(text=text, fault=Fault("slow", delay_s=_SLOW_S))


@cache
def _answers() -> traffic.Answers:
    return traffic.answers()


def _system_of(body: Mapping[str, Any]) -> str:
    system = body.get("system")
    if isinstance(system, str):
        return system
    return "".join(str(block.get("text", "")) for block in blocks_of(system))
