"""Real engines take every line that is recommended: vLLM's own parser, and a llama-server that starts.

`python scripts/real_engines.py FOLDER` fetches both; ADVISOR_REAL_ENGINES names that folder to these tests.
"""

import itertools
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter, TokenType

from advisor.engines.command_line import exists
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.versions import newest, parse
from advisor.service import recommend
from knowledge.catalog import default_catalog
from knowledge.ingest.opening import Reading, open_source
from knowledge.ingest.printed_names import Said

FOLDER = os.environ.get("ADVISOR_REAL_ENGINES")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        FOLDER is None, reason="ADVISOR_REAL_ENGINES names no folder: scripts/real_engines.py"
    ),
]
CATALOG = default_catalog()
BOTH, ONE = ("llama.cpp", "vllm"), ("llama.cpp",)
CARDS = {
    "3090": BOTH, "4090 48GB": BOTH, "2x3090": BOTH, "H100": BOTH,
    "RX 6800 XT": ONE, "Strix Halo": ONE, "3090+4090": ONE,
}  # fmt: skip
"""What runs on a card; vLLM on neither consumer Radeons nor cards that differ."""
ASKED = [
    *({"gpu": gpu, "ctx": ctx, "concurrency": users, "engine": engine}
      for gpu, engines in CARDS.items()
      for engine, ctx, users in itertools.product(engines, ["8k", "200k"], [1, 6])),
    {"model": "qwen3.5-35b-a3b", "gpu": "3090", "ctx": 262144},
    {"model": "qwen3.5-27b", "gpu": "4090", "vram": 48, "ctx": "200k", "concurrency": 6},
    {"model": "gpt-oss-120b", "gpu": "3090", "ctx": "64k", "ram": 96},
    {"model": "llama-3.3-70b", "gpu": "4090", "ctx": "16k", "ram": 64},
    {"model": "qwen3.6-27b", "gpu": "5090", "ctx": "64k", "spec": "mtp"},
    {"model": "gemma-3-27b", "gpu": "3090", "ctx": "32k", "kv_type": "q8_0", "ubatch": 2048},
    *({"model": "qwen3.5-35b-a3b", "gpu": "H100", "ctx": "64k", "concurrency": 32, "engine": "vllm",
       "kv_type": kv_type} for kv_type in ("f16", "fp8")),
    {"model": "qwen3.5-27b", "gpu": "H100", "ctx": "64k", "engine": "vllm", "spec": "mtp"},
]  # fmt: skip
TOKENS = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
N_EMBD, N_HEAD, N_FF = 256, 2, 256
"""Two heads of 128: every cache type's block of 32 fits them."""
START_S = 120


@pytest.fixture(scope="module")
def commands(shipped_home):
    """Every distinct command that is recommended, by engine."""
    found = {engine: set() for engine in (*BOTH, "bench")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVISOR_HOME", str(shipped_home))
        for asked in ASKED:
            for best in recommend(**asked, top=20).recommendations:
                found[best.config.engine].add(best.command)
                found["bench"].update(form.text for form in best.other_forms if form.name == "measure it")
    return {engine: sorted(lines) for engine, lines in found.items()}


def vllm_says(asked):
    source = Path(FOLDER, f"vllm-{newest('vllm').text}")
    words = [sys.executable, str(Path(__file__).with_name("real_vllm.py")), str(source)]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_vllm_takes_every_recommended_line(commands):
    lines = [shlex.split(command) for command in commands["vllm"]]
    assert len(lines) > 20
    assert all(words[:2] == ["vllm", "serve"] for words in lines)
    said = vllm_says([words[2:] for words in lines])
    assert [(shlex.join(words), why) for words, why in zip(lines, said, strict=True) if why] == []


@pytest.mark.parametrize(
    "words",
    ["--no-such-flag", "--max-num-seqs six", "--kv-cache-dtype fp9", "--mamba-cache-mode aligned"],
)
def test_vllm_refuses_what_it_does_not_have(words):
    assert vllm_says([["some/model", *words.split()]]) != [None]


def test_the_facts_know_the_options_of_vllm_and_no_others():
    version = newest("vllm")
    known = {
        spelling
        for spelling, flag in table_of("vllm", CATALOG).dated.items()
        if not flag.gone_in or version.key < parse("vllm", flag.gone_in, CATALOG).key
    }
    real = set(vllm_says({"flags": True}))
    assert real - known == {"-h", "--help"}
    # -O3 is split by the parser itself; the older off forms are taken as well and not listed
    assert {
        spelling for spelling in known - real if not spelling.startswith(("--no-enable-", "--no-disable-"))
    } == {"-O"}


@pytest.fixture(scope="module")
def programs():
    (found,) = Path(FOLDER).glob("llama.cpp-*")
    return found


@pytest.fixture(scope="module")
def server(programs):
    return str(programs / "llama-server")


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    """A Llama of two layers with a vocabulary of bytes."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(2)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(N_EMBD // N_HEAD)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types([TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    noise = np.random.default_rng(0)
    shapes = {"token_embd": (len(TOKENS), N_EMBD), "output": (len(TOKENS), N_EMBD), "output_norm": (N_EMBD,)}
    for layer in range(2):
        shapes |= {
            f"blk.{layer}.attn_norm": (N_EMBD,), f"blk.{layer}.ffn_norm": (N_EMBD,),
            f"blk.{layer}.attn_q": (N_EMBD, N_EMBD), f"blk.{layer}.attn_output": (N_EMBD, N_EMBD),
            f"blk.{layer}.attn_k": (N_EMBD // N_HEAD, N_EMBD),
            f"blk.{layer}.attn_v": (N_EMBD // N_HEAD, N_EMBD),
            f"blk.{layer}.ffn_gate": (N_FF, N_EMBD), f"blk.{layer}.ffn_up": (N_FF, N_EMBD),
            f"blk.{layer}.ffn_down": (N_EMBD, N_FF),
        }  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", noise.normal(0, 0.02, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def flags_of(command):
    """The command's words without what names its weights, its port, and how much a benchmark runs."""
    words = shlex.split(command)
    assert words[0] in {"llama-server", "llama-bench"}
    kept, rest = [], iter(words[1:])
    for word in rest:
        if word in {"-hf", "-m", "--mmproj", "--port", "-p", "-n", "-d"}:
            next(rest)
        else:
            kept.append(word)
    return tuple(kept)


def free_port():
    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        return wire.getsockname()[1]


def healthy(server, flags, model, log):
    """Whether the server answers /health; stopped afterwards."""
    port = free_port()
    words = [server, "-m", model, *flags, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as said, subprocess.Popen(words, stdout=said, stderr=said) as running:
        try:
            until = time.monotonic() + START_S
            while running.poll() is None and time.monotonic() < until:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                        return answer.status == 200
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    time.sleep(0.05)
            return False
        finally:
            running.kill()


def test_llamacpp_starts_with_every_recommended_set_of_flags(commands, server, tiny_gguf, tmp_path):
    """All but those that draft with the model's own head, which a tiny Llama has none of (see below)."""
    sets = sorted({flags_of(command) for command in commands["llama.cpp"]})
    started = [flags for flags in sets if "--spec-type" not in flags]
    assert len(started) > 20
    failed = {}
    for number, flags in enumerate(started):
        log = tmp_path / f"{number}.log"
        if not healthy(server, flags, tiny_gguf, log):
            failed[shlex.join(flags)] = log.read_text(errors="replace")[-600:]
    assert failed == {}


def test_llama_bench_runs_with_every_set_of_flags(commands, programs, tiny_gguf):
    """On the tiny model, at depths that take no time."""
    sets = sorted({flags_of(command) for command in commands["bench"]})
    assert len(sets) > 10
    failed = {}
    for flags in sets:
        words = [
            programs / "llama-bench",
            "-m",
            tiny_gguf,
            *flags,
            "-p",
            "8",
            "-n",
            "2",
            "-d",
            "0,16",
            "-r",
            "1",
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=START_S)
        if done.returncode != 0 or "tg2 @ d16" not in done.stdout:
            failed[shlex.join(flags)] = (done.stdout + done.stderr)[-400:]
    assert failed == {}


@pytest.mark.parametrize("form", ["md", "json", "jsonl", "csv"])
def test_what_llama_bench_prints_is_understood(programs, tiny_gguf, tmp_path, form):
    """All but the model and the device, which no catalog has."""
    words = [programs / "llama-bench", "-m", tiny_gguf, "-p", "8", "-n", "2", "-d", "0,16", "-r", "1"]
    done = subprocess.run([*words, "-o", form], capture_output=True, check=True, timeout=START_S)
    path = tmp_path / "bench.txt"
    path.write_bytes(done.stderr + done.stdout)
    model = next(iter(CATALOG.models.values())).model_copy(update={"total_params_b": 0.00092})
    with open_source(path, Reading(said=Said(gpu=CATALOG.gpus["Ryzen 9 7950X"], model=model))) as source:
        (chunk,) = source.chunks()
    assert not chunk.rejects
    cells = [record.cells for record in chunk.records]
    assert [(row["prompt_tokens"], row["gen_tokens"], row["depth"]) for row in cells] == [
        ("8", "0", "0"), ("0", "2", "0"), ("8", "0", "16"), ("0", "2", "16"),
    ]  # fmt: skip
    assert all(float(row.get("prefill_tps") or row["decode_tps"]) > 0 for row in cells)


def complaint(server, words):
    """What llama-server says of words that it does not understand; None where it goes on to the model."""
    done = subprocess.run(
        [server, *words, "-m", "no-such-file.gguf"],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    said = done.stdout + done.stderr
    return None if "no-such-file.gguf" in said and "invalid argument" not in said else said[-400:]


def test_llamacpp_parses_the_sets_that_draft(commands, server):
    sets = {flags_of(command) for command in commands["llama.cpp"] if "--spec-type" in command}
    assert sets
    assert {shlex.join(flags): complaint(server, flags) for flags in sets if complaint(server, flags)} == {}


@pytest.mark.parametrize("words", [["--no-such-flag"], ["-ctk", "q9_9"], ["-fa", "perhaps"]])
def test_llamacpp_refuses_what_it_does_not_have(server, words):
    assert complaint(server, words) is not None


def test_llamacpps_help_names_every_flag_that_is_printed(server):
    said = subprocess.run([server, "--help"], capture_output=True, text=True, check=True, timeout=START_S)
    words = set((said.stdout + said.stderr).replace(",", " ").split())
    version = newest("llama.cpp")
    printed = {
        flag.flag for flag in CATALOG.flags if flag.engine == "llama.cpp" and exists(flag.flag, version)
    }
    assert {flag for flag in printed if flag.startswith("--")} - words == set()
