"""One start of an engine as its log tells it: what was loaded where, how large, and how it ended.

It knows no engine's wording (`llamacpp_log`, `vllm_log`) and no names of the catalog (`printed_names`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Device:
    """A device of the log: its printed name, and MiB it had free (before the start) and in total."""

    name: str
    free_mib: float | None = None
    total_mib: float | None = None
    used: bool = False
    """Whether the engine said that it uses it; a listed device may lie idle."""


@dataclass(slots=True)
class Start:
    """What one start says of itself; what it does not say is absent.

    `cells` are columns of `Observation`; `figures` what its notes will state, mostly MiB; `by_device` MiB of
    buffers by kind and device.
    """

    engine: str
    line: int
    """Where the start begins in its file, from 1."""
    names: list[str] = field(default_factory=list)
    """Spellings of the model, the most telling one first."""
    cells: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    by_device: dict[str, dict[str, float]] = field(default_factory=dict)
    outcome: str = ""
    """`ok`, `oom` or `error`; empty while the log has not told."""
    complaint: str = ""
    """The failure in the log's own words."""
    complaint_line: int = 0

    def told(self) -> bool:
        """Whether there is anything in it beside that a program began."""
        return bool(self.names or self.cells or self.figures or self.by_device or self.outcome)

    def add(self, kind: str, device: str, mib: float) -> None:
        """Count a buffer of `kind` on `device`."""
        buffers = self.by_device.setdefault(kind, {})
        buffers[device] = buffers.get(device, 0.0) + mib

    def fail(self, outcome: str, complaint: str, line: int) -> None:
        """Remember a failure; the first words are kept, as what follows are its consequences."""
        if self.outcome != outcome or not self.complaint:
            self.complaint, self.complaint_line = " ".join(complaint.split())[:200], line
        self.outcome = outcome

    def ready(self) -> None:
        """Remember that the start came through, even where an earlier attempt had failed."""
        self.outcome, self.complaint, self.complaint_line = "ok", "", 0
