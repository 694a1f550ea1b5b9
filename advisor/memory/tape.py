"""How large a buffer llama.cpp's graph allocator needs for tensors that live and die in a known order.

It knows sizes, uses and the placement rule (best fit among the holes, in place where an operation allows it);
it knows no models and no operations.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right

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
        self._tensors: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
        self._steps: list[int] = []
        self._inputs: dict[str, int] = {}
        self._split: int | None = None

    def _record(self, size: int, sources: tuple[int, ...], heirs: tuple[int, ...]) -> int:
        self._tensors.append((size, sources, heirs))
        return len(self._tensors) - 1

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
        uses, tensors = self._uses(), self._tensors
        holes, place, held = _Holes(), [0] * len(tensors), [0] * len(tensors)
        later = set(self._steps)
        first = (tensor for tensor in self._inputs.values() if tensor not in later)
        for tensor in itertools.chain(first, self._steps):
            size, sources, heirs = tensors[tensor]
            heir = None
            if heirs:
                heir = next((x for x in heirs if uses[x] == 1 and held[x] >= size), None)
            if heir is not None:
                place[tensor], spare = place[heir], held[heir] - size
                held[tensor], held[heir] = size, 0
                holes.free(place[tensor] + size, spare)
            elif size:
                place[tensor], held[tensor] = holes.take(size), size
            for source in sources:
                left = uses[source] = uses[source] - 1
                if not left and held[source]:
                    holes.free(place[source], held[source])
                    held[source] = 0
        return holes.peak

    def _uses(self) -> list[int]:
        """How often each tensor is still to be read; copies of inputs once more than they are."""
        uses = [0] * len(self._tensors)
        for _, sources, _ in self._tensors:
            for source in sources:
                uses[source] += 1
        if self._copies > 1:
            for tensor in self._inputs.values():
                uses[tensor] += 1
        return uses


class _Holes:
    """The free ranges of the buffer, in order; the last one has no end."""

    def __init__(self) -> None:
        self._starts, self._lengths = [0], [_ENDLESS]
        self.peak = 0

    def take(self, size: int) -> int:
        """The smallest hole that fits, the last of equal ones, or the open end."""
        starts, lengths = self._starts, self._lengths
        best = len(lengths) - 1
        fit = _ENDLESS
        for index in range(best):
            length = lengths[index]
            if size <= length <= fit:
                best, fit = index, length
        offset = starts[best]
        if lengths[best] == size:
            del starts[best], lengths[best]
        else:
            starts[best] += size
            lengths[best] -= size
        self.peak = max(self.peak, offset + size)
        return offset

    def free(self, offset: int, size: int) -> None:
        """Give a range back, joined with the holes beside it."""
        if not size:
            return
        starts, lengths = self._starts, self._lengths
        index = bisect_right(starts, offset)
        if offset + size == starts[index]:
            starts[index], lengths[index] = offset, lengths[index] + size
        else:
            starts.insert(index, offset)
            lengths.insert(index, size)
        if index and starts[index - 1] + lengths[index - 1] == offset:
            lengths[index - 1] += lengths[index]
            del starts[index], lengths[index]
