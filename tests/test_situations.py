"""The situations people come with: the command, why each flag stands on it, and what rules warn of.

The golden file has no figures, which move with training. UPDATE_GOLDEN=1 writes it anew: read every line.
"""

import os
import shlex
from pathlib import Path

import pytest

from advisor.cli import main
from advisor.service import recommend

GOLDEN = Path(__file__).with_name("golden")
SITUATIONS = {
    "one user, a long context, 24 GiB": {"gpu": "4090", "ctx": "200k"},
    "one user, a long context, 48 GiB": {"gpu": "4090", "vram": 48, "ctx": "200k"},
    "the whole context of a hybrid model": {"model": "qwen3.5-35b-a3b", "gpu": "3090", "ctx": 262144},
    "six agents on two cards": {"gpu": "2x3090", "ctx": "64k", "concurrency": 6},
    "six agents, llama.cpp": {"gpu": "2x3090", "ctx": "64k", "concurrency": 6, "engine": "llama.cpp"},
    "six agents, TabbyAPI": {
        "model": "qwen3.6-27b",
        "gpu": "2x3090",
        "ctx": "64k",
        "concurrency": 6,
        "engine": "exllamav3",
    },
    "throughput": {"gpu": "H100", "ctx": "16k", "concurrency": 32, "goal": "throughput"},
    "larger than the card": {"model": "gpt-oss-120b", "gpu": "4090", "ram": 96, "ctx": "64k"},
    "shared memory": {"model": "gpt-oss-120b", "gpu": "Strix Halo", "ctx": "64k"},
    "two unequal cards": {"gpu": "3090+3060", "ctx": "32k"},
    "a Mac": {"model": "llama-3.3-70b", "gpu": "m4 max 128gb", "ctx": "32k"},
    "an older AMD card": {"gpu": "RX 6800 XT", "ctx": "32k"},
    "speculation": {"model": "qwen3.6-27b", "gpu": "5090", "ctx": "64k", "spec": "mtp"},
}


@pytest.fixture(scope="module")
def answers(shipped_home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVISOR_HOME", str(shipped_home))
        return {name: recommend(**asked) for name, asked in SITUATIONS.items()}


def text_of(name, answer):
    best = answer.recommendations[0]
    words = [
        f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in SITUATIONS[name].items()
    ]
    lines = [f"## {name}", f"advisor recommend {' '.join(words)}", "", f"    {best.command}", ""]
    lines += [f"    {key}={value}" for key, value in best.env.items()]
    for flag in best.flags:
        lines.append(f"- {flag.flag}: {flag.reason}")
        lines += [f"  {flag.evidence_url}"] if flag.evidence_url else []
    lines += [f"! {one.text} [{one.rule}]" for one in best.warnings if one.rule.startswith("R")]
    return "\n".join(lines) + "\n"


def test_the_situations_have_these_commands_and_reasons(answers):
    text = "\n".join(text_of(name, answer) for name, answer in answers.items())
    golden = GOLDEN / "situations.md"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_explaining_says_why_each_flag_stands_there_and_what_the_second_choice_costs(
    shipped_home, monkeypatch, capsys
):
    monkeypatch.setenv("ADVISOR_HOME", str(shipped_home))
    assert main(["recommend", "--gpu", "2x3090", "--ctx", "64k", "--concurrency", "6", "--explain"]) == 0
    said = capsys.readouterr().out
    assert "The command, flag by flag" in said
    assert "The second choice" in said
    assert "instead of" in said
    assert main(["recommend", "--gpu", "2x3090", "--ctx", "64k", "--concurrency", "6"]) == 0
    assert "flag by flag" not in capsys.readouterr().out
