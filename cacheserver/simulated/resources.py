"""Things that callers keep at Claude: files, skills, agents and so on, for each account. No HTTP.

All kinds are kept alike: what was sent comes back, with an id. Only files have content.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.parser import BytesParser
from typing import Any, Final

from cacheserver.simulated.caller import Caller
from cacheserver.simulated.errors import ApiError, invalid

# The kinds, and how their ids begin.
KINDS: Final[Mapping[str, str]] = {
    "agents": "agent",
    "environments": "env",
    "files": "file",
    "memory_stores": "memstore",
    "skills": "skill",
    "user_profiles": "uprof",
    "vaults": "vlt",
}
_MOST: Final = 1_000  # of all accounts; the oldest go first
_PREBUILT: Final = {
    name: {"id": name, "type": "skill", "display_name": name, "source": "anthropic"}
    for name in ("docx", "pdf", "pptx", "xlsx")
}


@dataclass(slots=True)
class _Kept:
    owner: str
    kind: str
    shown: dict[str, Any]
    content: bytes = b""
    parts: list[dict[str, Any]] = field(default_factory=list)


class Resources:
    """Everything that is kept."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def create(
        self, kind: str, raw: bytes, content_type: str, body: Any, caller: Caller, *, now: float
    ) -> dict[str, Any]:
        """Keep something and return it as it is shown. `body` is the JSON, if it is JSON."""
        name, content, mime = _upload(raw, content_type)
        shown: dict[str, Any] = {**(body if isinstance(body, dict) else {})}
        if kind == "files":
            if name is None:
                raise invalid("file: Field required")
            shown = {"filename": name, "mime_type": mime, "size_bytes": len(content)}
            shown["downloadable"] = True
        if kind == "skills":
            shown |= {"source": "custom", "display_name": name or "skill"}
        shown |= {
            "id": f"{KINDS[kind]}_sim{secrets.token_hex(10)}",
            "type": kind.removesuffix("s"),
            "created_at": datetime.fromtimestamp(now, UTC).isoformat(),
        }
        self._keep(_Kept(caller.owner, kind, shown, content))
        return shown

    def create_output(self, content: bytes, caller: Caller, *, now: float) -> str:
        """Keep a file that code made and return its id."""
        shown = {
            "id": f"file_sim{secrets.token_hex(10)}",
            "type": "file",
            "created_at": datetime.fromtimestamp(now, UTC).isoformat(),
            "filename": "output.txt",
            "mime_type": "text/plain",
            "size_bytes": len(content),
            "downloadable": True,
        }
        self._keep(_Kept(caller.owner, "files", shown, content))
        return str(shown["id"])

    def _keep(self, kept: _Kept) -> None:
        self._kept[kept.shown["id"]] = kept
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]

    def listed(self, kind: str, caller: Caller) -> list[dict[str, Any]]:
        """Return what an account has of a kind, the newest first, and what everybody has."""
        mine = [k.shown for k in self._kept.values() if (k.owner, k.kind) == (caller.owner, kind)]
        return mine[::-1] + (list(_PREBUILT.values()) if kind == "skills" else [])

    def show(self, kind: str, id: str, caller: Caller) -> dict[str, Any]:
        """Return one. Raises `ApiError`."""
        if kind == "skills" and id in _PREBUILT:
            return _PREBUILT[id]
        return self._find(kind, id, caller).shown

    def content(self, kind: str, id: str, caller: Caller) -> bytes:
        """Return what is in a file. Raises `ApiError`."""
        return self._find(kind, id, caller).content

    def update(self, kind: str, id: str, body: Any, caller: Caller) -> dict[str, Any]:
        """Change one and return it. Raises `ApiError`."""
        kept = self._find(kind, id, caller)
        kept.shown |= {n: v for n, v in body.items() if n != "id"} if isinstance(body, dict) else {}
        return kept.shown

    def add_part(self, kind: str, id: str, part: str, caller: Caller) -> dict[str, Any]:
        """Add a part, such as a version, and return it. Raises `ApiError`."""
        made = {"id": f"{part}_sim{secrets.token_hex(10)}", "type": part, "of": id}
        self._find(kind, id, caller).parts.append(made)
        return made

    def parts(self, kind: str, id: str, caller: Caller) -> list[dict[str, Any]]:
        """Return the parts of one. Raises `ApiError`."""
        return self._find(kind, id, caller).parts

    def delete(self, kind: str, id: str, caller: Caller) -> dict[str, Any]:
        """Forget one. Raises `ApiError`."""
        self._find(kind, id, caller)
        del self._kept[id]
        return {"id": id, "type": f"{kind.removesuffix('s')}_deleted"}

    def _find(self, kind: str, id: str, caller: Caller) -> _Kept:
        kept = self._kept.get(id)
        if kept is None or (kept.owner, kept.kind) != (caller.owner, kind):
            raise ApiError(404, f"{kind}: {id!r} was not found")
        return kept


def _upload(raw: bytes, content_type: str) -> tuple[str | None, bytes, str]:
    """Return name, content and type of the first file in a multipart body."""
    if not content_type.startswith("multipart/"):
        return None, b"", ""
    head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    form = BytesParser(policy=policy.HTTP).parsebytes(head + raw)
    for part in form.iter_parts():
        if (name := part.get_filename()) is not None:
            content = part.get_payload(decode=True)
            return name, content if isinstance(content, bytes) else b"", part.get_content_type()
    return None, b"", ""
