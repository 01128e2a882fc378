"""Names of blocks and turns in a Messages body, and the positions that they stand for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from cacheserver.core.errors import BadRequest

_PLACE: Final = r"-?[0-9]{1,6}|(?:-?[0-9]{1,6})?:(?:-?[0-9]{1,6})?"
_NAME: Final = re.compile(
    rf"(?P<root>system|messages)(?:\.(?P<place>{_PLACE}))?"
    rf"(?P<content>\.content(?:\.(?P<block>{_PLACE}))?)?"
)


@dataclass(slots=True)
class Places:
    """Positions of replaced blocks: in the system prompt, of whole turns, of blocks by turn."""

    system: set[int] = field(default_factory=set)
    turns: set[int] = field(default_factory=set)
    blocks: dict[int, set[int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.system or self.turns or self.blocks)

    def names(self) -> tuple[str, ...]:
        """Return one name for each run of neighbours, in the order of the prompt."""
        found: list[str] = [*_runs("system", self.system), *_runs("messages", self.turns)]
        for turn in sorted(self.blocks.keys() - self.turns):
            found += _runs(f"messages.{turn}.content", self.blocks[turn])
        return tuple(found)

    def add(self, name: str, body: Mapping[str, Any], field: str) -> None:
        """Add what a name stands for in a body. Raises `BadRequest` if there is no such block."""
        match = _NAME.fullmatch(name)
        assert match is not None  # `check_name` has checked it
        place, messages = match["place"], body["messages"]
        if match["root"] == "system":
            found = _indices(place, _size(body.get("system")))
            self.system.update(found)
        else:
            found = _indices(place, len(messages))
            if match["content"] is None:
                self.turns.update(found)
            elif found:  # of one turn
                turn = found[0]
                found = _indices(match["block"], _size(messages[turn]["content"]))
                self.blocks.setdefault(turn, set()).update(found)
        if not found:
            raise BadRequest(field, f"there is no `{name}` in the body")

    def replaced(self, shape: Mapping[str, Any]) -> dict[str, Any]:
        """Return a canonical body with null for each run of replaced neighbours.

        Null is neither a block nor a turn that a caller can send, so it cannot be forged. How many
        documents or turns were replaced is no part of it.
        """
        found = dict(shape)
        if self.system:
            found["system"] = _without(found["system"], self.system)
        turns = [
            {**turn, "content": _without(turn["content"], self.blocks[at])}
            if at in self.blocks
            else turn
            for at, turn in enumerate(found["messages"])
        ]
        found["messages"] = _without(turns, self.turns)
        return found


def check_name(field: str, value: object) -> str:
    """Return `value` if it has the form of a name. Raises `BadRequest` naming `field`."""
    match = _NAME.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        one_turn = match["root"] == "messages" and match["place"] and ":" not in match["place"]
        if match["content"] is None or one_turn:
            return str(value)
    message = "each name must be like `system`, `system.1`, `messages.-1`, `messages.0:-1` or "
    raise BadRequest(field, f"{message}`messages.-1.content.0`")


def _indices(place: str | None, size: int) -> range:
    if place is None:
        return range(size)
    if ":" in place:
        start, _, end = place.partition(":")
        chosen = slice(int(start) if start else None, int(end) if end else None)
        return range(*chosen.indices(size))
    at = int(place) + (size if place.startswith("-") else 0)
    return range(at, at + 1) if 0 <= at < size else range(0)


def _size(content: object) -> int:
    """Return the number of blocks; a string is one."""
    if isinstance(content, list):
        return len(content)
    return 0 if content is None else 1


def _runs(root: str, places: Set[int]) -> Iterator[str]:
    """Yield a name for each run: `root.2`, or `root.2:5`."""
    for start in sorted(at for at in places if at - 1 not in places):
        end = start + 1
        while end in places:
            end += 1
        yield f"{root}.{start}" if end == start + 1 else f"{root}.{start}:{end}"


def _without(items: Sequence[Any], places: Set[int]) -> list[Any]:
    """Return the items with null for each run of `places`."""
    return [
        None if at in places else one
        for at, one in enumerate(items)
        if not (at in places and at - 1 in places)
    ]
