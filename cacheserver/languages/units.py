"""Units as they are written in several languages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cacheserver.core import data_files
from cacheserver.matching.marks import spell_marks

# Written form -> symbol. A line of the file is one unit, the symbol first.
UNITS: Mapping[str, str] = MappingProxyType(
    {
        spell_marks(word): line.split()[0]
        for line in data_files.text("cacheserver.languages", "units.txt").splitlines()
        for word in line.split()
    }
)
