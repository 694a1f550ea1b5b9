"""Fetch the real engines that the tests hold commands against: `python scripts/real_engines.py FOLDER`.

vLLM's newest source distribution is unpacked, for its argument definitions; llama.cpp is built for the CPU
from the source that llama-cpp-python carries. Both come from the package index that pip uses. What is there
already is kept, so that the second run takes a second. Needs cmake, ninja and a C++ compiler.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from pip._internal.models.index import PyPI  # the address that pip itself falls back to

from advisor.engines.versions import newest

LLAMA_CPP_PYTHON = "0.3.36"
"""Carries the newest llama.cpp whose flags the facts hold."""
_JSON = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_S = 300
_BUILD = (
    "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O0", "-DCMAKE_C_FLAGS=-O1", "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF", "-DGGML_OPENMP=OFF", "-DGGML_LLAMAFILE=OFF", "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_UI=OFF",
)  # fmt: skip
"""Built to parse arguments and serve one tiny model: quick to compile matters, quick to run does not."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    version = newest("vllm").text
    if not (folder / f"vllm-{version}").exists():
        unpack(source_of("vllm", version), folder / f"vllm-{version}", inside="vllm")
    programs = folder / f"llama.cpp-{LLAMA_CPP_PYTHON}"
    if not programs.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            source = Path(place, "source")
            unpack(source_of("llama-cpp-python", LLAMA_CPP_PYTHON), source, inside="vendor/llama.cpp")
            build(source, Path(place, "build")).replace(programs)  # whole or not at all
    print(f"llama.cpp of llama-cpp-python {LLAMA_CPP_PYTHON}, arguments of vLLM {version}: {folder}")


def source_of(project: str, version: str) -> bytes:
    """The source distribution, as the index's checksum says it is."""
    index = os.environ.get("PIP_INDEX_URL") or _configured() or PyPI.simple_url
    page = json.loads(_read(f"{index.rstrip('/')}/{project}/", Accept=_JSON))
    name = f"{project.replace('-', '_')}-{version}.tar.gz"
    found: dict[str, Any] | None = next((one for one in page["files"] if one["filename"] == name), None)
    if found is None:
        raise SystemExit(f"error: the package index has no {name}")
    content = _read(found["url"])
    if hashlib.sha256(content).hexdigest() != found["hashes"]["sha256"]:
        raise SystemExit(f"error: {name} is not what the index says it is; try again")
    return content


def _configured() -> str:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return said.stdout.strip()


def _read(address: str, **headers: str) -> bytes:
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the index of packages
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def unpack(archive: bytes, into: Path, *, inside: str) -> None:
    """Put the folder `inside` of a source distribution where `into` says; whole or not at all."""
    with tempfile.TemporaryDirectory(dir=into.parent) as place:
        packed = Path(place, "packed.tar.gz")
        packed.write_bytes(archive)
        with tarfile.open(packed) as tar:
            tar.extractall(place, filter="data")
        top = next(path for path in Path(place).iterdir() if path.is_dir())
        shutil.move(top / inside, into)


def build(source: Path, into: Path) -> Path:
    """A folder with `llama-server` and `llama-bench` for this machine's processor."""
    targets = ("llama-server", "llama-bench")
    subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", into, *_BUILD], check=True, stdout=sys.stderr)
    subprocess.run(["cmake", "--build", into, "--target", *targets], check=True, stdout=sys.stderr)
    return into / "bin"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
