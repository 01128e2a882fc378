"""Files of the admin page, served from memory.

Rule: the address of a file has the digest of all of them, so a browser keeps each for ever and
never mixes two versions.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("admin_page") / "static"
PAGE: Final = "index.html"

_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IMPORTS: Final = ('<script type="importmap">', "</script>")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, plain and compressed."""

    kind: str  # its content type
    plain: bytes
    packed: bytes  # gzip


class Assets:
    """The files of a folder, read when the first is asked for."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._loaded = False

    async def load(self) -> None:
        """Read and compress the files, in a thread: that takes some 50 ms."""
        if not self._loaded:
            await asyncio.to_thread(lambda: self.policy)  # which needs all others
            self._loaded = True

    @cached_property
    def files(self) -> Mapping[str, Asset]:
        """Files by their path below the folder, without the page itself and the licences."""
        return {
            path.relative_to(self._folder).as_posix(): _asset(path.suffix, path.read_bytes())
            for path in sorted(self._folder.rglob("*"))
            if path.suffix in _KINDS and path.name != PAGE
        }

    @cached_property
    def version(self) -> str:
        digest = hashlib.sha256()
        for name, asset in self.files.items():
            digest.update(name.encode() + b"\0" + asset.plain)
        return digest.hexdigest()[:16]

    @cached_property
    def page(self) -> Asset:
        """The page, with the addresses of its files."""
        text = (self._folder / PAGE).read_text()
        return _asset(".html", text.replace("{base}", f"/admin/static/{self.version}").encode())

    @cached_property
    def policy(self) -> str:
        """The page's content security policy.

        An import map must be within the page; it is allowed by its digest, as CSP 3 has it.
        """
        begin, end = _IMPORTS
        imports = self.page.plain.decode().partition(begin)[2].partition(end)[0]
        digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
        return (
            f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; "
            "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'"
        )


def _asset(suffix: str, plain: bytes) -> Asset:
    return Asset(_KINDS[suffix], plain, gzip.compress(plain, 9, mtime=0))
