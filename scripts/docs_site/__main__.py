"""Assemble the sources, then build them with Sphinx; each warning is an error."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from scripts.docs_site import http_reference, pages

_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="docs", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=_ROOT / "var/site", help="where the site goes"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        pages.assemble(_ROOT, source)
        (source / "http-reference.md").write_text(http_reference.page())
        words = ["--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir", f"{name}/trees"]
        status = build_main([*words, str(source), str(args.folder)])
    if status == 0:
        print(f"{args.folder / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
