"""`scripts/list_spelling --scowl DIR`: write `english/data/spelling_*.txt` from SCOWL.

`DIR` holds SCOWL's word lists (Debian package `scowl`: usr/share/dict/scowl). Common words are the
levels 10 and 20 with six letters or more; the real words near them come from all lists, names,
abbreviations and variants included, up to level 95. See also `OWN`.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

from cacheserver.english.canonical.typing_slips import slips

TARGET = Path(__file__).resolve().parent.parent / "cacheserver/english/data"
LEAST = 6  # letters: of shorter words most slips are words
# Products and commands named after a word misspelt.
OWN = "flickr tumblr grindr scribd fiverr imgur passwd creat umount lyft digg reddit"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/list_spelling", description=__doc__)
    parser.add_argument("--scowl", type=Path, required=True)
    args = parser.parse_args()

    every = words_in(args.scowl, "*-*") | set(OWN.split())
    common = {
        word
        for level in (10, 20)
        for word in words_in(args.scowl, f"*h-words.{level}")
        if len(word) >= LEAST
    }
    common |= {
        word for level in (10, 20) for word in words_in(args.scowl, f"american-words.{level}")
    }
    common = {word for word in common if len(word) >= LEAST}
    near = {slip for word in common for slip in slips(word)} & every - common
    for name, words in (("common", common), ("near", near)):
        text = textwrap.fill(" ".join(sorted(words)), 99)
        (TARGET / f"spelling_{name}.txt").write_text(f"{text}\n")
    print(f"{len(common)} common words, {len(near)} near them")


def words_in(folder: Path, pattern: str) -> set[str]:
    text = "\n".join(file.read_text("latin-1") for file in folder.glob(pattern))
    return set(re.findall(r"^[a-z]{4,}$", text.lower(), re.MULTILINE))


if __name__ == "__main__":
    main()
