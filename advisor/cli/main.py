"""The `advisor` program: its commands, and what a failure looks like from outside.

It alone maps exceptions to exit codes. It knows no command's options (`ask`, `look`, `learn`).
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from advisor.cli import agents, ask, learn, look
from knowledge.errors import AdvisorError

# Nothing here uses pydantic's plugins, and looking for them among all installed packages takes a while.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Nearly all that a command makes lives until it ends: looking through it as often as Python does by itself
# takes a tenth of the time of `recommend`.
gc.set_threshold(100_000, 20, 20)

_INTERRUPTED = 130
_CLOSED_PIPE = 141
"""128 + SIGPIPE, as the shell would report a program that a closed pipe ended."""
_USAGE = 2

# What Typer raises for a wrong command line; its own base class has no public name.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="advisor",
    help="What to launch on this GPU, how fast it will be, whether it fits, and how we know.",
    epilog="Start with: advisor recommend --gpu 4090 --ctx 200k",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    add_completion=True,
)


def _print_version(asked: bool) -> None:
    if asked:
        from advisor.learning import installed  # noqa: PLC0415 - rarely asked for

        print(installed("advisor"))  # noqa: T201 - data on stdout
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())  # noqa: T201 - data on stdout


for _module in (ask, look, learn, agents):
    _module.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; the entry point of the `advisor` program."""
    try:
        code = app(args=arguments, prog_name="advisor", standalone_mode=False)
        sys.stdout.flush()
    except AdvisorError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED  # who pressed Ctrl-C knows
    except (BrokenPipeError, SystemExit):  # Typer's answer to a broken pipe is to exit with 1
        _forget_stdout()
        return _CLOSED_PIPE
    except _CommandLineError as error:
        return _fail(f"{_said_by(error)} — see: advisor {_command_of(error)}--help", _USAGE)
    except Exception as error:  # the last resort one line for people, all of it on demand
        if os.environ.get("ADVISOR_DEBUG"):
            raise
        kind = type(error).__name__
        return _fail(f"internal error: {kind}: {error} — for the whole story set ADVISOR_DEBUG=1", 1)
    return code if isinstance(code, int) else 0


def _said_by(error: Exception) -> str:
    """The message of Typer's own exceptions, which hold it elsewhere than in `str`."""
    return str(getattr(error, "format_message", error.__str__)())


def _command_of(error: Exception) -> str:
    name = getattr(getattr(error, "ctx", None), "info_name", "advisor")
    return "" if name == "advisor" else f"{name} "


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n")
    return code


def _forget_stdout() -> None:
    """Nobody reads stdout any more: what is still buffered must not fail once again at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
