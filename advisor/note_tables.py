"""Release notes for people: what versions claim, what became of the claims, and what was measured.

It formats; what matches is `advisor.lookup`'s, what a pair is `advisor.effects`'.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from advisor import listings
from advisor.columns import print_table
from advisor.words import claim_text
from knowledge.schema import Claim

_MEASURED_SHOWN = 15


def print_notes(out: Console, answer: listings.Notes) -> None:
    """Notes, the claims among them with their verdicts, and the measured pairs; or that there are none."""
    for note in answer.notes:
        out.print(Text(f"{note.engine} {note.version} {note.released_on}".strip(), style="bold"))
        out.print(Text(f"  {note.claim}"))
        out.print(Text(f"  {note.evidence_url}", style="dim"), soft_wrap=True)
    if not answer.notes:
        out.print("no release note matches")
    if answer.claims:
        _claims(out, answer.claims)
    if answer.measured:
        _measured(out, answer.measured)
    elif answer.claims or answer.notes:
        out.print("\nno measured pair of runs was found for it", style="dim")
    if answer.note:
        out.print(Text(answer.note, style="dim"))


def _claims(out: Console, claims: Sequence[Claim]) -> None:
    out.print("\nClaims, held against what was measured\n")
    for claim in claims:
        out.print(Text(f"{claim.engine} {claim.version}: {claim.claim_short}", style="bold"))
        out.print(Text(f"  {claim_text(claim)}"))
        for address in claim.source_url:
            out.print(Text(f"  {address}", style="dim"), soft_wrap=True)


def _measured(out: Console, measured: Sequence[listings.Measured]) -> None:
    shown = measured[:_MEASURED_SHOWN]
    out.print("\nMeasured, by pairs of runs that differ in one thing (second over first)\n")
    rows = (
        (
            item.engine,
            f"{item.change}{' (reverses)' if item.reverses else ''}",
            item.metric,
            f"{item.pairs} of {item.sources}",
            f"×{item.median:.2f}",
            f"{item.low:.2f}–{item.high:.2f}",
            _ratio(item.one_sequence),
            _ratio(item.several_sequences),
            item.origin,
        )
        for item in shown
    )
    columns = "engine|change|figure|>pairs of sources|>median|>range|>one sequence|>several|where"
    print_table(out, columns, rows, wide=1)
    if len(measured) > len(shown):
        out.print(f"{len(measured) - len(shown)} more: --json", style="dim")
    for address in dict.fromkeys(url for item in shown for url in item.source_urls[:1]):
        out.print(Text(f"  {address}", style="dim"), soft_wrap=True)


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"×{value:.2f}"
