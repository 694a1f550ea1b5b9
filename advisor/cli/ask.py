"""`advisor recommend`, `predict`, `check` and `limits`: the questions the program exists for."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from advisor.cli.options import BESIDE_A_COMMAND, EXACT, RANKING, AsJson, Explain, asking
from knowledge.errors import NothingFitsError


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(recommend)
    app.command()(predict)
    app.command()(limits)
    app.command()(check)


@asking([*EXACT[:4], *RANKING, *EXACT[4:]])
def recommend(*, as_json: AsJson = False, explain: Explain = False, **options: Any) -> None:
    """Rank launch configurations: what to run, with which command, how fast, how safe.

    Without --model the whole catalog is ranked: what is worth running on this card at this context.

    Example: advisor recommend --gpu 4090 --ctx 200k
    """
    from advisor import render, service  # noqa: PLC0415 - `--help` must not load them

    found = service.recommend(**options)
    render.tell(render.store_note(found.recommendations))
    if as_json:
        render.print_json(found)
    elif found.recommendations:
        render.print_recommendation(found, explain=explain)
    if not found.recommendations:
        raise NothingFitsError(*render.nothing_fits(found))


@asking(EXACT)
def predict(*, as_json: AsJson = False, explain: Explain = False, **options: Any) -> None:
    """Predict one exact configuration: what is left out takes the engine's own default.

    Example: advisor predict --model qwen3.5-9b --quant Q4_K_M --gpu 3060 --ctx 64k
    """
    from advisor import render, service  # noqa: PLC0415 - `--help` must not load them

    prediction = service.predict(**options)
    render.tell(render.store_note([prediction]))
    if as_json:
        render.print_json(prediction)
    else:
        render.print_prediction(prediction, explain=explain)


@asking([*EXACT[:4], "max_oom", "min_tps", *EXACT[4:]])
def limits(*, as_json: AsJson = False, **options: Any) -> None:
    """Find how far a model goes: longest context, most users, best split with RAM, smallest card.

    Example: advisor limits --model qwen3.5-35b-a3b --quant Q4_K_M --gpu 3090 --ctx 64k
    """
    from advisor import service, tables  # noqa: PLC0415 - `--help` must not load them

    tables.show(service.limits(**options), as_json=as_json)


@asking(BESIDE_A_COMMAND)
def check(
    command: Annotated[
        str,
        typer.Argument(metavar="COMMAND", help="The launch command in quotes, or - to read it from stdin."),
    ],
    *,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Check a launch command: does it fit, what takes the memory, and which single change would unlock it.

    It reads llama-server, llama-cli, vllm, sglang, ollama, lms load, mlx_lm and TabbyAPI commands, wrapped or
    in containers. An mlx_lm command has no flag for the context: --ctx says how long requests get.

    Example: advisor check "llama-server -m Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf -c 262144 -ngl 99" --gpu 3090
    """
    from advisor import checked, render, service  # noqa: PLC0415 - `--help` must not load them

    found = service.check(sys.stdin.read() if command == "-" else command, **options)
    if as_json:
        render.print_json(found)
    else:
        checked.print_check(found)
