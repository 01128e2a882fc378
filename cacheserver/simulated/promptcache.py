"""Prompt cache of the simulated Claude.

Written down from the documentation: a prefix is exact bytes in the order tools, system, messages;
it is written only at a breakpoint of enough tokens; a breakpoint finds an entry at most 20
positions back, itself included; a lifetime counts from the start of the writing or reading
request, and a read renews it. An entry can be read once the answer that wrote it has begun. What
the documentation leaves open: a read keeps the lifetime the entry was written with, and a
breakpoint inside a prefix that is read writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cacheserver.simulated import prompt
from cacheserver.simulated.catalogue import Model
from cacheserver.simulated.prompt import Block, Section, Ttl

LOOKBACK = 20  # positions, the breakpoint's own included
LIFETIME_S: Mapping[Ttl, int] = {"5m": 300, "1h": 3_600}

_SWEEP_AT = 10_000  # entries; the expired ones are dropped then, to bound the memory


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request's blocks, and the digest of the prefix that ends with each."""

    blocks: Sequence[Block]
    digests: Sequence[bytes]
    min_tokens: int


@dataclass(frozen=True, slots=True)
class Write:
    """A prefix to be kept once the answer begins."""

    digest: bytes
    lifetime_s: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Use:
    """Tokens that one request read and wrote; the kinds sum to the whole prompt."""

    input_tokens: int  # neither read nor written
    read_tokens: int
    written_5m_tokens: int
    written_1h_tokens: int
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class _Prefix:
    lifetime_s: int
    expires_at: float


class PromptCache:
    """The prefixes of every account."""

    def __init__(self) -> None:
        self._prefixes: dict[bytes, _Prefix] = {}

    def look(self, request: Prompt, *, now: float) -> Use:
        """Return what a request that starts at `now` reads and will write; reads are renewed."""
        ends = [0]
        for block in request.blocks:
            ends.append(ends[-1] + block.tokens)
        breakpoints = [
            position
            for position, block in enumerate(request.blocks)
            if block.mark and ends[position + 1] >= request.min_tokens
        ]
        reached = max((self._reach(request, at, now) for at in breakpoints), default=-1)
        self._renew(request, [at for at in breakpoints if at < reached] + [reached], now)
        counted = ends[reached + 1]
        written: dict[Ttl, int] = {"5m": 0, "1h": 0}
        writes: list[Write] = []
        for at in breakpoints:
            mark = request.blocks[at].mark
            if at <= reached or mark is None:
                continue
            written[mark] += ends[at + 1] - counted
            counted = ends[at + 1]
            writes.append(Write(request.digests[at], LIFETIME_S[mark], now))
        return Use(
            input_tokens=ends[-1] - counted,
            read_tokens=ends[reached + 1],
            written_5m_tokens=written["5m"],
            written_1h_tokens=written["1h"],
            writes=tuple(writes),
        )

    def keep(self, use: Use) -> None:
        """Keep what `use` writes: its answer has begun, so other requests can read it now."""
        if len(self._prefixes) > _SWEEP_AT and use.writes:
            now = use.writes[0].started_at
            self._prefixes = {
                at: prefix for at, prefix in self._prefixes.items() if prefix.expires_at > now
            }
        for write in use.writes:
            expires_at = write.started_at + write.lifetime_s
            prefix = self._prefixes.get(write.digest)
            if prefix is None or prefix.expires_at < expires_at:
                self._prefixes[write.digest] = _Prefix(write.lifetime_s, expires_at)

    def clear(self) -> None:
        """Forget every prefix."""
        self._prefixes.clear()

    def _reach(self, request: Prompt, breakpoint: int, now: float) -> int:
        """Return the last position of the longest live prefix this breakpoint finds, or -1."""
        for at in range(breakpoint, max(-1, breakpoint - LOOKBACK), -1):
            prefix = self._prefixes.get(request.digests[at])
            if prefix is not None and prefix.expires_at > now:
                return at
        return -1

    def _renew(self, request: Prompt, positions: Sequence[int], now: float) -> None:
        for at in positions:
            prefix = self._prefixes.get(request.digests[at]) if at >= 0 else None
            if prefix is not None and prefix.expires_at > now:
                self._prefixes[request.digests[at]] = _Prefix(
                    prefix.lifetime_s, now + prefix.lifetime_s
                )


def read(body: Mapping[str, Any], model: Model, *, owner: str) -> Prompt:
    """Return the prompt of a valid request; `owner` (account and workspace) shares with nobody."""
    found = prompt.blocks(body, model)
    running = hashlib.sha256(orjson.dumps([owner, model.id]))
    salts = _salts(body, found)
    digests: list[bytes] = []
    section: Section = "tools"
    for block in found:
        if block.section != section:
            if section == "tools":
                running.update(salts["system"])
            if block.section == "messages":
                running.update(salts["messages"])
            section = block.section
        running.update(len(block.content).to_bytes(8, "big") + block.content)
        digests.append(running.digest())
    return Prompt(found, digests, model.min_cacheable_tokens)


def _salts(body: Mapping[str, Any], found: Sequence[Block]) -> Mapping[Section, bytes]:
    """Return what else must be equal for each section to be found again."""
    output = body.get("output_config") or {}
    searches = any(str(tool.get("type", "")).startswith("web_") for tool in body.get("tools") or [])
    pictures = any(b'"type":"image"' in block.content for block in found)
    return {
        "system": orjson.dumps([body.get("speed") or "standard", searches]),
        "messages": orjson.dumps(
            [body.get("tool_choice"), body.get("thinking"), output.get("effort"), pictures]
        ),
    }
