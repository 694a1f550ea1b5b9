"""Which engine a command starts, and where that engine's own arguments begin.

It knows the programs' names, the wrappers before them (`sudo`, `env`, `numactl`, containers, `bash -c`) and
the variables that choose devices. It reads no engine's flags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from advisor.engines.parsing.containers import container, device_count, image_version
from advisor.engines.parsing.shell_words import Simple, Word, assignments, simple_commands
from knowledge.errors import UnsupportedError, UsageError

_LLAMACPP = ("llama-server", "llama-cli", "llama-completion")
_OTHERS = {
    "llama-bench": "llama-bench measures many configurations: check the llama-server command to be run",
    "ik_llama-server": "", "koboldcpp": "", "koboldcpp.py": "", "text-generation-launcher": "",
    "trtllm-serve": "", "lmdeploy": "", "llamafile": "",
}  # fmt: skip
"""Programs that launch a model and are not read here."""
_MODULES = {
    "vllm.entrypoints.openai.api_server": "vllm",
    "vllm.entrypoints.api_server": "vllm",
    "sglang.launch_server": "sglang",
    "mlx_lm.server": "mlx",
    "mlx_lm.generate": "mlx",
}
_VERBS = {
    "vllm": ("serve",), "sglang": ("serve",), "ollama": ("run", "serve"), "lms": ("load",),
    "mlx_lm": ("server", "generate"),
}  # fmt: skip
_ENGINE_OF = {"lms": "lmstudio", "mlx_lm": "mlx"}
"""Programs that are not called what their engine is."""
_TABBY = frozenset({"main.py", "start.py", "start.sh", "start.bat"})
"""Scripts of TabbyAPI's folder: many programs have such ones, so that the folder or a flag has to tell."""
_PYTHON = re.compile(r"^python[\d.]*(?:\.exe)?$")
_SHELLS = frozenset({"bash", "sh", "zsh", "fish"})
_DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
_ENGINES_VARIABLES = ("LLAMA_ARG_", "OLLAMA_", "VLLM_", "SGLANG_")
_EXAMPLE = 'write for example advisor check "llama-server -m model.gguf -c 32768"'


@dataclass(frozen=True, slots=True)
class Launch:
    """An engine's launch: the words up to its arguments, the arguments, and what surrounds them."""

    engine: str
    program: str
    """`llama-server`, `llama-cli`, `vllm`, `vllm serve`, `sglang`, `ollama run`, `mlx_lm.server` …"""
    head: tuple[Word, ...]
    args: tuple[Word, ...]
    env: dict[str, str] = field(default_factory=dict)
    own_env: tuple[str, ...] = ()
    """Names of the variables that are printed before the command again; others stand in `head` or outside."""
    version: str | None = None
    devices: int | None = None


def launch_in(text: str) -> Launch:
    """The one launch that `text` contains.

    Raises:
        UsageError: nothing in it starts a known engine, or a quote is not closed.
    """
    commands = simple_commands(text)
    for command in commands:
        found = _launch(command)
        if found is not None:
            return found
    first = commands[-1].words[0].text
    raise UsageError(
        f"{first!r} starts no engine that is known here",
        f"{_EXAMPLE}, vllm serve, ollama run, lms load, mlx_lm.server or python main.py --model-name",
    )


def _launch(command: Simple) -> Launch | None:
    words = command.words
    inside = container(words)
    if inside is not None:
        rest = words[inside.arguments_at :]
        env = command.env | inside.env
        found = _program(rest)
        if found is None:
            named = _program([Word(text, text) for text in (*inside.starts, *(word.text for word in rest))])
            if named is None:
                return None
            taken = len(named[2]) - len(inside.starts)
            found = (named[0], named[1], rest[: max(taken, 0)], named[3])
        engine, program, head, args = found
        version = image_version(engine, inside.image)
        whole = (*words[: inside.arguments_at], *head)
        return Launch(
            engine,
            program,
            whole,
            tuple(args),
            env,
            _printed_again(command),
            version,
            _devices(env, inside.devices),
        )
    script = _script(words)
    if script is not None:
        return launch_in(script)
    direct = _program(words)
    if direct is None:
        return None
    engine, program, head, args = direct
    env = command.env | assignments(head)
    return Launch(
        engine, program, tuple(head), tuple(args), env, _printed_again(command), devices=_devices(env, None)
    )


def _printed_again(command: Simple) -> tuple[str, ...]:
    """Variables to print before the command: its own, and the exported ones that move memory."""
    return tuple(
        name
        for name in command.env
        if name in command.own or name in _DEVICES or name.startswith(_ENGINES_VARIABLES)
    )


def _devices(env: dict[str, str], container_devices: int | None) -> int | None:
    counts = (device_count(env[name]) for name in _DEVICES if env.get(name))
    return next((count for count in counts if count), container_devices)


def _script(words: Sequence[Word]) -> str | None:
    """The text behind `bash -c`."""
    for at, word in enumerate(words[:-2]):
        if word.text.rsplit("/", 1)[-1] in _SHELLS and re.match(r"^-\w*c$", words[at + 1].text):
            return words[at + 2].text
    return None


_Found = tuple[str, str, Sequence[Word], Sequence[Word]]
"""Engine, program, the words up to its arguments, the arguments."""


def _program(words: Sequence[Word]) -> _Found | None:
    """The first word that is a known program; what stands before it are wrappers."""
    for at, word in enumerate(words):
        name = re.split(r"[/\\]", word.text)[-1].removesuffix(".exe")
        following = words[at + 1].text if at + 1 < len(words) else ""
        if name in _OTHERS:
            hint = _OTHERS[name] or "llama-server, vllm, sglang, ollama, lms, mlx_lm and TabbyAPI are"
            raise UnsupportedError(f"{name} is not read here", hint)
        if name in _LLAMACPP or (name == "server" and "llama" in word.text):
            return "llama.cpp", name, words[: at + 1], words[at + 1 :]
        if name == "tabbyapi" or (name.lower() in _TABBY and _is_tabbys(word.text, words[at + 1 :])):
            return "exllamav3", "tabbyapi", words[: at + 1], words[at + 1 :]
        known = _by_verb(name, following) or _module(name, words[at + 1 :])
        if known is not None:
            engine, program, count = known
            return engine, program, words[: at + 1 + count], words[at + 1 + count :]
    return None


def _by_verb(name: str, following: str) -> tuple[str, str, int] | None:
    """The engine of a program that is told what to do, what it is called then, and how many words do that."""
    if name == "llama" and following in {"serve", "server", "cli"}:
        return "llama.cpp", "llama-server", 1
    if following in _VERBS.get(name, ()):
        return _ENGINE_OF.get(name, name), f"{name}{'.' if name == 'mlx_lm' else ' '}{following}", 1
    if name in _MODULES:  # installed as a program of the module's name
        return _MODULES[name], name, 0
    return None


def _is_tabbys(script: str, rest: Sequence[Word]) -> bool:
    """Whether a script is TabbyAPI's own: it lies in its folder, or gets the flag that names its model."""
    flags = {re.split("=", word.text)[0].replace("_", "-") for word in rest}
    return "tabby" in script.lower() or "--model-name" in flags


def _module(name: str, rest: Sequence[Word]) -> tuple[str, str, int] | None:
    """The engine whose module Python runs, what that program is called, and how many words name it."""
    if not _PYTHON.match(name):
        return None
    for at, word in enumerate(rest[:-1]):
        if word.text == "-m":
            module, following = rest[at + 1].text, "".join(word.text for word in rest[at + 2 : at + 3])
            if module == "mlx_lm" and following in _VERBS[module]:
                return "mlx", f"{module}.{following}", at + 3
            engine = _MODULES.get(module)
            # an mlx program is known by its module, which says which flags it has
            return (engine, module if engine == "mlx" else engine, at + 2) if engine else None
        if not word.text.startswith("-"):
            return None
    return None
