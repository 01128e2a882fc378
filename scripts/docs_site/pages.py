"""Pages of the repository as sources of the site: copied, with their links turned."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_CONF = Path(__file__).with_name("conf.py")
# Pages of the root have their place in the site too. The README is the index's elder sister: both
# begin alike, and the site has no need of it.
ROOT_PAGES = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
# A picture in two schemes, as GitHub shows it, and as Furo does.
_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'\s*<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)">\s*</picture>'
)
_IMAGES = (
    "```{image} \\g<light>\n:class: only-light\n:alt: \\g<alt>\n```\n\n"
    "```{image} \\g<dark>\n:class: only-dark\n:alt: \\g<alt>\n```"
)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def assemble(root: Path, source: Path) -> None:
    """Copy docs/ and the root's pages to `source`, so that every link leads to another of them."""
    shutil.copytree(root / "docs", source)
    shutil.copy(_CONF, source / "conf.py")
    for page in source.rglob("*.md"):
        page.write_text(turned(page.read_text(), at_root=False))
    for name, ours in ROOT_PAGES.items():
        (source / ours).write_text(turned((root / name).read_text(), at_root=True))


def turned(text: str, *, at_root: bool) -> str:
    """Return a page with its links and pictures as in the site; links to code become words."""

    def turn(link: re.Match[str]) -> str:
        words, target = link[1], link[2]
        if target.startswith(("https://", "#")):
            return link[0]
        path, hash, anchor = target.partition("#")
        if at_root:
            path = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
        if not path.startswith("../"):
            return f"[{words}]({path}{hash}{anchor})"
        ours = {**ROOT_PAGES, "README.md": "index.md"}.get(path.removeprefix("../"))
        if ours is None:
            return words
        return f"[{words}]({ours}{'' if ours == 'index.md' else hash + anchor})"

    return _LINK.sub(turn, _PICTURE.sub(_IMAGES, text))
