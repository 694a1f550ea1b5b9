"""Commands that look things up: observations, gpus, models, notes, flags, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.options import AsJson

Words = Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Only entries that contain these words.")]
Engine = Annotated[str | None, typer.Option("--engine", "-e", metavar="NAME", help="Of this engine only.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (observations, gpus, models, notes, flags, doctor):
        app.command()(command)


def observations(
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Of this model.")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", "-g", metavar="NAME", help="On this device.")] = None,
    quant: Annotated[
        str | None, typer.Option("--quant", "-q", metavar="FORMAT", help="In this format.")
    ] = None,
    engine: Engine = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Found in any text of a run.")
    ] = None,
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="shipped|user", help="Whose runs.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="runs, or those kept apart: quarantined, rejected.")
    ] = "runs",
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="Most rows to print.")] = "20",
    as_json: AsJson = False,
) -> None:
    """List measured runs, newest first, with where they come from."""
    from advisor import render, service, tables  # noqa: PLC0415 - `--help` must not load them

    found = service.observations(
        model=model, gpu=gpu, quant=quant, engine=engine, text=text, origin=origin, kind=kind, limit=limit
    )
    render.tell(found.note)
    tables.show(found, as_json=as_json)


def gpus(text: Words = None, as_json: AsJson = False) -> None:
    """List the devices that are known, with memory and bandwidth."""
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    tables.show(service.gpus(text), as_json=as_json)


def models(
    text: Words = None,
    quants: Annotated[bool, typer.Option("--quants", help="List the quantization formats instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that are known, newest first; with --quants the formats."""
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    tables.show(service.quants(text) if quants else service.models(text), as_json=as_json)


def notes(
    text: Words = None,
    engine: Engine = None,
    version: Annotated[
        str | None, typer.Option("--engine-version", metavar="VERSION", help="Of this version only.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="VERSION", help="Of this version and later ones.")
    ] = None,
    area: Annotated[
        str | None, typer.Option("--area", metavar="AREA", help="cache, memory, decode, prefill, bug …")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="What speaks of such models.")
    ] = None,
    flag: Annotated[str | None, typer.Option("--flag", metavar="FLAG", help="What names this flag.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what engine versions claim to have changed, and what was measured of it.

    Example: advisor notes "prefix caching" --engine vllm --since 0.14
    """
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    found = service.notes(
        text, engine=engine, version=version, since=since, area=area, model=model, flag=flag
    )
    tables.show(found, as_json=as_json)


def flags(text: Words = None, engine: Engine = None, as_json: AsJson = False) -> None:
    """List launch flags, since which version they exist and what they do."""
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    tables.show(service.flags(text, engine=engine), as_json=as_json)


def doctor(as_json: AsJson = False) -> None:
    """Check what this installation has to work with."""
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    health = service.doctor()
    tables.show(health, as_json=as_json)
    raise typer.Exit(health.exit_code)
