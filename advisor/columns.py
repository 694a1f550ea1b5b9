"""Rows of an answer under named columns, for people at a terminal of any width.

It lays out; what stands in the cells is its callers'.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

Cells = Iterable[object]


def print_table(out: Console, columns: str, rows: Iterable[Cells], *, wide: int = 0) -> None:
    """Rows under `columns` (a leading `>` aligns right); the column `wide` takes the room that is left."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, name in enumerate(columns.split("|")):
        table.add_column(
            name.lstrip(">"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=index != wide,
            overflow="fold",
            ratio=1 if index == wide else None,
        )
    count = 0
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        count += 1
    if count:
        out.print(table)
    else:
        out.print("nothing matches")
