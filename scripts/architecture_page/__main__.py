"""Rewrite the generated parts of docs/architecture.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.architecture_page.page import rewrite


def main() -> None:
    argparse.ArgumentParser(prog="architecture", description=__doc__).parse_args()
    root = Path(__file__).resolve().parents[2]
    page = root / "docs/architecture.md"
    page.write_text(rewrite(page.read_text(), root))


if __name__ == "__main__":
    main()
