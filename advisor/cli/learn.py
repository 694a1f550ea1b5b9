"""Commands that change what is known, or measure it: ingest, train, evaluate; and the page."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.options import AsJson
from knowledge.errors import IngestRejectedError

Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="CSV files of measured runs; - is standard input.")
]

Own = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="CSV of measured runs, llama-bench's output, or start logs; - is standard input.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (ingest, train, evaluate, ui):
        app.command()(command)


def ingest(
    files: Own,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Report, and say what predictions would change, but keep nothing."),
    ] = False,
    file_format: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="csv, bench, log, or auto: by what is in the file."),
    ] = "auto",
    gpu: Annotated[
        str | None, typer.Option("--gpu", "-g", metavar="NAME", help="Device, where a file names none.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Model, where a file names none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add your own measured runs, or start logs of llama.cpp and vLLM; reading a file twice adds nothing.

    What llama-bench prints (its table, json, jsonl, csv) are runs to learn from: advisor train.

    A start log calibrates the next answers for the same card: what was free, what the buffers took.

    Examples: llama-bench -m model.gguf -d 0,16384 -o json | advisor ingest -

    llama-server -m model.gguf 2>&1 | tee boot.log; advisor ingest boot.log
    """
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    take = service.preview if dry_run else service.ingest
    report = take(files, file_format=file_format, gpu=gpu, model=model)
    tables.show(report, as_json=as_json)
    if report.rejected or report.quarantined:
        raise IngestRejectedError(
            f"{report.rejected} rows rejected and {report.quarantined} quarantined of {report.read}",
            "the others are in" if report.added and not dry_run else "",
        )


def train(
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FOLDER", help="Write here instead of where predictions look."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the speed model on all rows of the store, and say how wrong it is on rows left out."""
    from advisor import render, service, tables  # noqa: PLC0415 - `--help` must not load them

    report = service.train(output, tell=render.progress)
    render.tell(report.note)
    tables.show(report, as_json=as_json)


def evaluate(files: Files, as_json: AsJson = False) -> None:
    """Score predictions against measured rows, without learning from them."""
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    tables.show(service.evaluate(files), as_json=as_json)


def ui(
    port: Annotated[str, typer.Option("--port", metavar="N", help="Port to listen on.")] = "8501",
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Address to listen on.")] = "localhost",
) -> None:
    """Open the page in a browser (runs until it is interrupted)."""
    from advisor import service  # noqa: PLC0415 - `--help` must not load it

    raise typer.Exit(service.serve_page(host, port))
