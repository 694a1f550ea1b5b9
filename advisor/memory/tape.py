"""How large a buffer llama.cpp's graph allocator needs for tensors that live and die in a known order.

It knows sizes, uses and the placement rule (best fit among the holes, in place where an operation allows it);
it knows no models and no operations.
"""

from __future__ import annotations

import itertools

_ALIGNMENT = 128
_ENDLESS = 1 << 62


def _aligned(size: float) -> int:
    return -(-int(size) // _ALIGNMENT) * _ALIGNMENT


class Tape:
    """The tensors of one graph in the order of their computation.

    Every method records a tensor (or only a use) and names it by a number; `peak` then replays the tape. A
    tensor dies after its last use; one without uses lives on, as the results of a graph do.
    """

    def __init__(self, copies: int = 1) -> None:
        self._copies = copies
        self._sizes: list[int] = []
        self._sources: list[tuple[int, ...]] = []
        self._heirs: list[tuple[int, ...]] = []
        self._steps: list[int] = []
        self._inputs: dict[str, int] = {}
        self._split: int | None = None

    def _record(self, size: int, sources: tuple[int, ...], heirs: tuple[int, ...]) -> int:
        self._sizes.append(size)
        self._sources.append(sources)
        self._heirs.append(heirs)
        return len(self._sizes) - 1

    def input(self, name: str, size: float) -> int:
        """A tensor filled before the graph runs: alive from the start until its last use.

        Several copies, for micro-batches that follow each other through a pipeline, live on.
        """
        if name not in self._inputs:
            self._inputs[name] = self._record(_aligned(size) * self._copies, (), ())
            if self._split is not None:
                self._steps.insert(self._split, self._inputs[name])
                self._split += 1
        return self._inputs[name]

    def split(self) -> None:
        """What follows is a graph of its own: inputs that nothing has needed yet are filled here."""
        self._split = len(self._steps)

    def new(self, size: float, *sources: int, scratch: float = 0.0) -> int:
        """A tensor computed from `sources`; `scratch` bytes behind it serve its own computation."""
        total = _aligned(_aligned(size) + scratch if scratch else size)
        self._steps.append(self._record(total, sources, ()))
        return self._steps[-1]

    def over(self, size: float, heirs: tuple[int, ...], *sources: int) -> int:
        """A tensor that takes the place of the first of `heirs` whose last use this is, if there is one."""
        self._steps.append(self._record(_aligned(size), (*heirs, *sources), heirs))
        return self._steps[-1]

    def use(self, *sources: int) -> None:
        """A computation whose result lies elsewhere, in a cache for instance."""
        self._steps.append(self._record(0, sources, ()))

    def peak(self) -> int:
        """Bytes of the buffer."""
        uses = [0] * len(self._sizes)
        for source in itertools.chain.from_iterable(self._sources):
            uses[source] += 1
        if self._copies > 1:
            for tensor in self._inputs.values():
                uses[tensor] += 1
        holes, place, held = _Holes(), [0] * len(self._sizes), [0] * len(self._sizes)
        later = set(self._steps)
        first = (tensor for tensor in self._inputs.values() if tensor not in later)
        for tensor in (*first, *self._steps):
            size = self._sizes[tensor]
            heir = next((x for x in self._heirs[tensor] if uses[x] == 1 and held[x] >= size), None)
            if heir is not None:
                place[tensor], spare = place[heir], held[heir] - size
                held[tensor], held[heir] = size, 0
                holes.free(place[tensor] + size, spare)
            elif size:
                place[tensor], held[tensor] = holes.take(size), size
            for source in self._sources[tensor]:
                uses[source] -= 1
                if not uses[source] and held[source]:
                    holes.free(place[source], held[source])
                    held[source] = 0
        return holes.peak


class _Holes:
    """The free ranges of the buffer, in order; the last one has no end."""

    def __init__(self) -> None:
        self._ranges = [[0, _ENDLESS]]
        self.peak = 0

    def take(self, size: int) -> int:
        """The smallest hole that fits, the last of equal ones, or the open end."""
        best = len(self._ranges) - 1
        fit = _ENDLESS + 1
        for index, (_, length) in enumerate(self._ranges[:-1]):
            if size <= length <= fit:
                best, fit = index, length
        hole = self._ranges[best]
        offset = hole[0]
        hole[0] += size
        hole[1] -= size
        if not hole[1]:
            del self._ranges[best]
        self.peak = max(self.peak, offset + size)
        return offset

    def free(self, offset: int, size: int) -> None:
        if not size:
            return
        index = next(i for i, hole in enumerate(self._ranges) if hole[0] > offset)
        after = self._ranges[index]
        if offset + size == after[0]:
            after[0], after[1] = offset, after[1] + size
        else:
            self._ranges.insert(index, [offset, size])
        if index and sum(self._ranges[index - 1]) == offset:
            self._ranges[index - 1][1] += self._ranges[index][1]
            del self._ranges[index]
