"""The walk through a start log: lines in order, the start that they belong to, and when it is told.

It knows no engine's wording; a reader names its patterns, and has a method for each (`llamacpp_log`,
`vllm_log`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from knowledge.ingest.log_start import Start

Match = re.Match[str]


class LogReader:
    """Reads lines in order; `feed` hands over each start that a line has brought to its end."""

    engine: str
    patterns: Sequence[tuple[str, re.Pattern[str]]]
    """Name of a pattern, which `_name` of the reader handles, and the pattern."""
    says_several = False
    """Whether a line can match more than one pattern."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self._start: Start | None = None
        self._done: Start | None = None
        self._line = 0

    def feed(self, line: int, text: str) -> Iterator[Start]:
        """Take one line."""
        self._line = line
        for name, pattern in self.patterns:
            match = pattern.search(text)
            if match:
                handle: Callable[[Match], None] = getattr(self, f"_{name}")
                handle(match)
                if not self.says_several:
                    break
        yield from self._told()

    def end(self) -> Iterator[Start]:
        """The start that was under way when the log ended."""
        self._finish()
        yield from self._told()

    def _told(self) -> Iterator[Start]:
        if self._done is not None:
            yield self._done
            self._done = None

    @property
    def _now(self) -> Start:
        if self._start is None:
            self._start = Start(self.engine, self._line)
            self._begin()
        return self._start

    def _begin(self) -> None:
        """What a reader forgets of the last start."""

    def _finish(self) -> None:
        if self._start is not None and self._start.told():
            self._done = self._start
        self._start = None
