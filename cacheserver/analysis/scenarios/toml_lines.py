"""Lines of keys in a TOML text, for error messages."""

from __future__ import annotations

import re


def line_of(text: str, path: str) -> int:
    """Return the line of a path's last key, from 1; of the enclosing table if it is absent.

    TOML's own parser keeps no positions.
    """
    first, last, lines = 0, None, text.splitlines()
    keys = path.split(".")
    while keys:
        found = re.fullmatch(r"(\w+)\[(\d+)\]", keys[0])
        head = rf"\s*\[+\s*{re.escape('.'.join(keys[:1]) if not found else found[1])}\s*\]+"
        heads = [n for n, line in enumerate(lines) if n >= first and re.match(head, line)]
        place = int(found[2]) if found else 0
        if place >= len(heads):
            break
        first = last = heads[place]
        keys = keys[1:]
    end = len(lines)
    if last is not None:
        later = (n for n in range(first + 1, end) if re.match(r"\s*\[\[", lines[n]))
        end = next(later, end)
    else:
        end = next((n for n in range(end) if re.match(r"\s*\[", lines[n])), end)
    for key in reversed(keys):
        name = re.escape(re.sub(r"\[\d+\]$", "", key))
        for number in range(first, end):
            if re.match(rf"\s*[\"']?(?:\w+\.)*{name}[\"']?\s*=", lines[number]):
                return number + 1
    return (last or 0) + 1
