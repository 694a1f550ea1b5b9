"""`docker run … image arguments` → the image, what the container is given, and where its arguments start.

It owns which options of `run` take a value, and what the images of engines start. It reads no engine's flags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from advisor.engines.parsing.shell_words import ASSIGNMENT, Word
from knowledge.errors import UsageError

RUNNERS = frozenset({"docker", "podman", "nerdctl"})
_SWITCHES = frozenset({
    "--detach", "--interactive", "--tty", "--rm", "--init", "--privileged", "--publish-all", "--read-only",
    "--no-healthcheck", "--oom-kill-disable", "--sig-proxy", "--disable-content-trust", "--quiet",
    "--replace", "--tls-verify",
})  # fmt: skip
"""Options of `run` without a value; every other takes one. https://docs.docker.com/reference/cli/docker/"""
_SHORT_SWITCHES = re.compile(r"^-[ditqP]+$")
_STARTS = (
    (re.compile(r"vllm-openai|(?:^|/)vllm(?:-|/|:|$)"), ("vllm", "serve")),
    (re.compile(r"llama\.cpp:(?:full)"), ("llama.cpp-tools",)),
    (re.compile(r"llama\.cpp:(?:light)"), ("llama-cli",)),
    (re.compile(r"llama\.cpp"), ("llama-server",)),
    (re.compile(r"ollama/ollama"), ("ollama", "serve")),
    (re.compile(r"theroyallab/tabbyapi"), ("tabbyapi",)),
)
"""What an image starts with the arguments behind its name."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container's image, the command that it starts with its arguments' place, and its variables."""

    image: str
    starts: tuple[str, ...]
    arguments_at: int
    """Index of the first word behind the image (and behind what stands for the program there)."""
    env: dict[str, str] = field(default_factory=dict)
    devices: int | None = None


def container(words: Sequence[Word]) -> Container | None:
    """The container that the words run; None where they run none.

    Raises:
        UsageError: an option without its value, or no image.
    """
    names = [word.text.rsplit("/", 1)[-1] for word in words]
    runner = next((at for at, name in enumerate(names) if name in RUNNERS), None)
    if runner is None or "run" not in names[runner + 1 : runner + 3]:
        return None
    at = names.index("run", runner) + 1
    env: dict[str, str] = {}
    devices, entrypoint = None, ""
    while at < len(words) and words[at].text.startswith("-"):
        option, value, at = _option(words, at)
        if option in {"-e", "--env"} and (match := ASSIGNMENT.match(value)):
            env[match[1]] = match[2]
        elif option == "--gpus":
            devices = device_count(value.replace('"', "").removeprefix("device="))
        elif option == "--entrypoint":
            entrypoint = value
    if at >= len(words):
        raise UsageError(f"{names[runner]} run names no image", "write the whole command")
    image = words[at].text
    starts = (entrypoint,) if entrypoint else _started_by(image)
    if starts == ("llama.cpp-tools",):
        at += 1
        starts = ("llama-server",) if at < len(words) and words[at].text in {"-s", "--server"} else ("",)
    return Container(image, starts, at + 1, env, devices)


def _option(words: Sequence[Word], at: int) -> tuple[str, str, int]:
    """The option at `at`, its value (empty for a switch) and the index behind both."""
    text = words[at].text
    name, equals, value = text.partition("=")
    if name in _SWITCHES or _SHORT_SWITCHES.match(text):
        return name, value, at + 1
    if equals and name.startswith("--"):
        return name, value, at + 1
    if not text.startswith("--") and len(text) > 2:  # -p8080:8080, -eA=b
        return text[:2], text[2:].removeprefix("="), at + 1
    if at + 1 >= len(words):
        raise UsageError(f"{text} has no value", "write the whole command")
    return text, words[at + 1].text, at + 2


def _started_by(image: str) -> tuple[str, ...]:
    return next((starts for pattern, starts in _STARTS if pattern.search(image)), ())


def device_count(text: str) -> int | None:
    """Devices that a list like `0,1` names; None for `all` and what is not a list."""
    parts = [part for part in text.split(",") if part.strip()]
    return len(parts) if parts and parts != ["all"] else None


def image_version(engine: str, image: str) -> str | None:
    """The engine's version that an image's tag names: `v0.11.0` → `0.11.0`, `server-cuda-b6789` → `b6789`."""
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    pattern = r"\bb\d{4,6}\b" if engine == "llama.cpp" else r"\d+\.\d+(?:\.\d+)?(?:\.post\d+|rc\d+)?"
    match = re.search(pattern, tag)
    return match[0] if match else None
