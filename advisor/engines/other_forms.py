"""The same configuration in other words: a run that verifies it, a container, a Modelfile, a config file.

It owns the spelling of these forms and derives them from the launch command. What the command says is the
engines' business.
"""

from __future__ import annotations

import shlex

from advisor.config import OtherForm, Setup
from advisor.engines.exllamav3 import config_file
from advisor.engines.llamacpp import SHORT
from advisor.engines.repos import repo_of
from advisor.engines.versions import known_version, newest
from knowledge.catalog import Catalog
from knowledge.weights import file_tag

_BENCH_FLAGS = {
    "-hf": "-hf", "-m": "-m", "-ngl": "-ngl", "--n-cpu-moe": "-ncmoe", "-fa": "-fa", "-ctk": "-ctk",
    "-ctv": "-ctv", "-b": "-b", "-ub": "-ub", "-sm": "-sm", "-ts": "-ts",
}  # fmt: skip
"""llama-server's flags that llama-bench has too, and its own spelling.

https://github.com/ggml-org/llama.cpp/blob/0c1e57098/tools/llama-bench/llama-bench.cpp
"""
_BENCH_TOKENS = 128
_VLLM_PORT = 8000


def other_forms(setup: Setup, command: str, catalog: Catalog | None = None) -> list[OtherForm]:
    """What else the launch `command` of `setup` can be written as; an empty list where nothing is known."""
    engine = setup.launch.engine
    found = {
        "llama.cpp": _bench, "vllm": _container, "ollama": _modelfile, "exllamav3": _config_file,
    }.get(engine)  # fmt: skip
    form = found(setup, command, catalog) if found else None
    return [form] if form is not None else []


def _bench(setup: Setup, command: str, catalog: Catalog | None) -> OtherForm | None:
    """llama-bench at an empty and at a full context; only for the build whose options were read."""
    launch = setup.launch
    if known_version("llama.cpp", launch.engine_version, catalog) != newest("llama.cpp"):
        return None
    words, line = shlex.split(command), ["llama-bench"]
    for flag, value in zip(words, [*words[1:], ""], strict=True):
        if flag in _BENCH_FLAGS:
            line += [
                _BENCH_FLAGS[flag],
                value.replace(",", "/") if flag == SHORT["--tensor-split"] else value,
            ]
    if not launch.kv_offload:
        line += ["-nkvo", "1"]
    prompt = min(launch.prompt, launch.ctx)
    deepest = max(0, launch.ctx - prompt - _BENCH_TOKENS)
    line += ["-p", str(prompt), "-n", str(_BENCH_TOKENS), "-d", f"0,{deepest}" if deepest else "0"]
    return OtherForm(name="measure it", text=shlex.join(line))


def _container(setup: Setup, command: str, catalog: Catalog | None) -> OtherForm | None:
    """The image that vLLM publishes of the version, for NVIDIA cards and weights from the Hub.

    `--model` is taken by both entry points that the image has had.
    https://github.com/vllm-project/vllm/blob/v0.33.0/docs/deployment/docker.md
    """
    _, _, source, *flags = shlex.split(command)
    if setup.gpu.vendor != "NVIDIA" or source.startswith((".", "/")) or setup.launch.path is not None:
        return None
    version = known_version("vllm", setup.launch.engine_version, catalog).text
    arguments = shlex.join(["--model", source, *flags])
    return OtherForm(
        name="in a container",
        text=f"docker run --gpus all --ipc=host -p {_VLLM_PORT}:{_VLLM_PORT}"
        f' -v "$HOME/.cache/huggingface:/root/.cache/huggingface" vllm/vllm-openai:v{version} {arguments}',
    )


def _modelfile(setup: Setup, _command: str, catalog: Catalog | None) -> OtherForm:
    """What `ollama create` makes the tag of the command from.

    https://github.com/ollama/ollama/blob/fb3076099/docs/modelfile.mdx
    """
    launch, quant = setup.launch, setup.quant
    repo = launch.repo or repo_of(setup.model, quant, "gguf", catalog=catalog)
    if launch.path is not None:
        source = launch.path
    elif launch.repo is not None:
        source = f"hf.co/{launch.repo}"
    else:
        source = f"hf.co/{repo}:{file_tag(quant)}" if repo else f"./{setup.model.name}-{file_tag(quant)}.gguf"
    return OtherForm(name="Modelfile", text=f"FROM {source}\nPARAMETER num_ctx {launch.ctx}")


def _config_file(_setup: Setup, command: str, _catalog: Catalog | None) -> OtherForm:
    """What TabbyAPI's folder holds for a launch without flags, which is how its documentation prefers it.

    https://github.com/theroyallab/tabbyAPI/blob/004e837/docs/02.-Server-options.md
    """
    return OtherForm(name="as a config.yml", text=config_file(shlex.split(command)[2:]))
