"""`advisor mcp`: the questions of the command line as tools for agents, over the Model Context Protocol.

It declares tools and words failures; every answer is the service's, as the JSON of the command line. The
`mcp` package is an extra: nothing else needs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from advisor.cli.options import BESIDE_A_COMMAND, EXACT, RANKING, texts
from knowledge.errors import AdvisorError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.tools import Tool

_REQUIRED = frozenset({"command"})
_VALUE = str | int | float | bool | None
_LOOK = {
    "notes": {
        "text": "Words that must all occur.",
        "engine": "Such as vllm or llama.cpp.",
        "version": "One version of it.",
    },
    "observations": {
        "model": "Model: a name or a Hugging Face id.",
        "gpu": "Device.",
        "quant": "Quantization.",
        "engine": "Engine.",
        "text": "Words in flags and notes.",
        "limit": "Most runs. Default 20.",
    },
}
_INSTRUCTIONS = (
    "What to launch a language model with on given hardware, how fast it will be, and whether it runs out of "
    "memory. Figures are predictions with 80 % intervals, beside the measured runs they rest on; warnings "
    "and notes carry their addresses. Names that mean nothing known are refused with the nearest ones."
)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(mcp)


def mcp() -> None:
    """Serve the questions as tools for agents (Model Context Protocol, over standard input and output).

    Example, in a client's settings: {"command": "advisor", "args": ["mcp"]}
    """
    server().run()


def server() -> MCPServer:
    """The server with its tools, not yet running.

    Raises:
        AdvisorError: the `mcp` package is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 - an extra, loaded only for this command
    except ImportError as error:
        raise AdvisorError(
            "the mcp package is not installed", "install it: pip install 'advisor[mcp]'"
        ) from error
    from advisor import service  # noqa: PLC0415 - `--help` must not load it

    questions = (
        (service.recommend, texts([*EXACT[:4], *RANKING, *EXACT[4:]])),
        (service.predict, texts(EXACT)),
        (service.limits, texts([*EXACT[:4], "max_oom", "min_tps", *EXACT[4:]])),
        (service.check, {"command": "The launch command as it is typed.", **texts(BESIDE_A_COMMAND)}),
        (service.notes, _LOOK["notes"]),
        (service.observations, _LOOK["observations"]),
    )
    tools = [_tool(function, parameters) for function, parameters in questions]
    return MCPServer("advisor", instructions=_INSTRUCTIONS, tools=tools)


def _tool(function: Callable[..., Any], parameters: dict[str, str]) -> Tool:
    """The function as a tool: described parameters in, JSON out, one line where it refuses."""
    from mcp.server.mcpserver.tools import Tool  # noqa: PLC0415 - as in `server`

    tool = Tool.from_function(
        _asked(function, parameters),
        name=function.__name__,
        description=_first_paragraph(function),
        structured_output=True,
    )
    # An option that does not exist is refused, not dropped.
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters["additionalProperties"] = False
    return tool


def _asked(function: Callable[..., Any], parameters: dict[str, str]) -> Callable[..., dict[str, Any]]:
    from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415 - as in `server`
    from pydantic import Field  # noqa: PLC0415 - as above

    def tool(**options: Any) -> dict[str, Any]:
        asked = {name: value for name, value in options.items() if value is not None}
        try:
            return cast("dict[str, Any]", function(**asked).model_dump(mode="json"))
        except AdvisorError as error:
            raise ToolError(" ".join(str(error).split())) from error

    def parameter(name: str, text: str) -> inspect.Parameter:
        kind, default = (str, inspect.Parameter.empty) if name in _REQUIRED else (_VALUE, None)
        annotation = Annotated[kind, Field(description=text)]  # type: ignore[valid-type]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    tool.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter(name, text) for name, text in parameters.items()], return_annotation=dict[str, Any]
    )
    return tool


def _first_paragraph(function: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
