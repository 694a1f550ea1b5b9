"""The spellings that an engine's command line accepts, as `knowledge/facts/engine_flags.csv` lists them.

It owns their look-up and the nearest ones to a wrong one. How values follow them is `arguments`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from knowledge.catalog import Catalog
from knowledge.names.match import nearest
from knowledge.schema import EngineFlag


@dataclass(frozen=True)
class Table:
    """The spellings of one engine."""

    by_spelling: Mapping[str, tuple[EngineFlag, bool]]
    """Spelling → the flag, and whether this is its on form."""
    by_env: Mapping[str, EngineFlag]
    dated: Mapping[str, EngineFlag]
    """Spelling → the row that says which versions have it."""

    def __contains__(self, spelling: str) -> bool:
        return spelling in self.by_spelling

    def nearest(self, text: str) -> tuple[str, ...]:
        """Spellings that look most like `text`."""
        return tuple(nearest(text, [name for name in self.by_spelling if name.startswith("--")]))


@lru_cache(maxsize=16)
def table_of(engine: str, catalog: Catalog) -> Table:
    """The engine's spellings, from the facts."""
    flags = {flag.flag: flag for flag in catalog.engine_flags if flag.engine == engine}
    by_spelling: dict[str, tuple[EngineFlag, bool]] = {}
    by_env: dict[str, EngineFlag] = {}
    dated: dict[str, EngineFlag] = {}
    for flag in flags.values():
        means, on = (flags[flag.off_of], False) if flag.off_of else (flag, True)
        by_spelling.update(dict.fromkeys((flag.flag, *flag.aliases), (means, on)))
        by_spelling.update(dict.fromkeys(flag.off, (means, not on)))
        dated.update(dict.fromkeys((flag.flag, *flag.aliases, *flag.off), flag))
        if flag.env:
            by_env[flag.env] = flag
    return Table(by_spelling, by_env, dated)
