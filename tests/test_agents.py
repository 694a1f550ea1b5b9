"""`advisor mcp`: agents ask over standard input and output, and get what the command line prints."""

import asyncio
import builtins
import json
import os
import sys

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from advisor.cli import main
from advisor.cli.options import EXACT, RANKING

LAUNCH = "llama-server -hf unsloth/Qwen3.5-9B-GGUF:Q4_K_M -c 32768"
RANKED = {"gpu": "3090", "model": "qwen3.5-35b-a3b", "ctx": 262144, "top": 2}
ASKED = {"model": "qwen3.5-9b", "quant": "Q4_K_M", "gpu": "3060", "ctx": "64k"}


@pytest.fixture(scope="module")
def answers(shipped_home, tmp_path_factory):
    """Everything that the tests ask, of one server."""
    log = tmp_path_factory.mktemp("mcp") / "stderr"
    environment = {**os.environ, "ADVISOR_HOME": str(shipped_home), "OMP_NUM_THREADS": "1"}
    program = StdioServerParameters(command=sys.executable, args=["-m", "advisor", "mcp"], env=environment)

    async def ask():
        with log.open("w") as errors:
            async with (
                stdio_client(program, errlog=errors) as (reading, writing),
                ClientSession(reading, writing) as session,
            ):
                started = await session.initialize()
                tools = await session.list_tools()
                calls = {
                    "predict": ("predict", ASKED),
                    "recommend": ("recommend", RANKED),
                    "check": ("check", {"command": LAUNCH, "gpu": "3060"}),
                    "notes": ("notes", {"engine": "vllm", "text": "prefix caching"}),
                    "observations": ("observations", {"gpu": "3090", "model": "qwen3.5-35b-a3b", "limit": 3}),
                    "nobody": ("predict", {**ASKED, "model": "qwen3.5-9x"}),
                    "nothing": ("check", {}),
                    "stranger": ("predict", {**ASKED, "gpus": "3060"}),
                }  # fmt: skip
                found = {name: await session.call_tool(tool, given) for name, (tool, given) in calls.items()}
                return started, tools.tools, found

    return asyncio.run(ask())


def test_the_tools_are_the_questions_with_described_options(answers):
    started, tools, _ = answers
    assert started.server_info.name == "advisor"
    assert {tool.name for tool in tools} == {
        "recommend", "predict", "limits", "check", "notes", "observations",
    }  # fmt: skip
    schema = {tool.name: tool.input_schema for tool in tools}
    assert set(schema["predict"]["properties"]) == set(EXACT)
    assert set(schema["recommend"]["properties"]) == {*EXACT, *RANKING}
    assert schema["check"]["required"] == ["command"]
    assert all(option["description"] for tool in tools for option in tool.input_schema["properties"].values())


def test_an_answer_is_the_command_lines(answers, shipped_home, monkeypatch, capsys):
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))
    assert (
        main(["predict", *(word for name, value in ASKED.items() for word in (f"--{name}", value)), "--json"])
        == 0
    )
    printed = json.loads(capsys.readouterr().out)
    found = answers[2]["predict"]
    assert not found.is_error
    assert found.structured_content == printed
    assert json.loads(found.content[0].text) == printed


def test_every_question_is_answered(answers):
    found = answers[2]
    assert not any(found[name].is_error for name in ("recommend", "check", "notes", "observations"))
    assert len(found["recommend"].structured_content["recommendations"]) == 2
    assert found["check"].structured_content["verdict"] in {"fits", "tight", "oom"}
    assert all("prefix" in json.dumps(note).lower() for note in found["notes"].structured_content["notes"])
    assert found["notes"].structured_content["notes"]
    assert len(found["observations"].structured_content["observations"]) == 3


def test_what_is_refused_says_why_in_one_line(answers):
    found = answers[2]
    assert found["nobody"].is_error
    assert "did you mean Qwen3.5-9B" in found["nobody"].content[0].text
    assert "\n" not in found["nobody"].content[0].text
    assert found["stranger"].is_error
    assert "gpus" in found["stranger"].content[0].text
    assert found["nothing"].is_error
    assert "command" in found["nothing"].content[0].text


def test_without_the_package_it_says_what_to_install(monkeypatch, capsys):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("mcp"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["mcp"]) == 1
    assert "pip install 'advisor[mcp]'" in capsys.readouterr().err
