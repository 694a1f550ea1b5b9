"""llama.cpp's arguments as settings of a launch: what `advisor.engines.llamacpp` prints, read back.

It owns what its flags mean in which version. Names are left as they are written, and whether the launch fits
is judged elsewhere.
"""

from __future__ import annotations

import re

from advisor.engines.llamacpp import DRAFT_TOKENS, TRI_STATE_FLASH_ATTN
from advisor.engines.parsing.arguments import Arguments, Unknown, check_versions
from advisor.engines.parsing.flag_table import table_of
from advisor.engines.parsing.grammars import read_llamacpp
from advisor.engines.parsing.programs import Launch
from advisor.engines.parsing.reading import ALL_LAYERS, Reading, words_of
from advisor.engines.versions import known_version, parse
from advisor.memory.builds import layout
from knowledge.catalog import Catalog
from knowledge.errors import UsageError
from knowledge.kv_types import normalise_kv_type

_FIT_SINCE = "2025-12-16"
"""`--fit`, on by default, and with it a context of 0 = the model's (4096 before).
Source: https://github.com/ggml-org/llama.cpp/pull/16653"""
_OLD_CONTEXT = 4096
_DEFAULT_QUANT = "Q4_K_M"
"""What `-hf` takes where no file is named: https://github.com/ggml-org/llama.cpp (tools/server/README.md)."""
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_EXPERTS = tuple(
    f"blk.{layer}.ffn_{part}_exps.weight" for layer in (1, 7, 23) for part in ("up", "gate", "down")
)
_DRAFTS = ("--model-draft", "--hf-repo-draft")


def read(launch: Launch, version_text: str | None, catalog: Catalog) -> Reading:
    """The reading of a llama-server or llama-cli command.

    Raises:
        UsageError: a flag without its value, or with one of the wrong type.
    """
    version = known_version("llama.cpp", version_text, catalog)
    table = table_of("llama.cpp", catalog)
    found = read_llamacpp(words_of(launch), launch.env, table)
    check_versions(found, table, version, catalog)
    found.unknown.extend(
        Unknown(word, "llama.cpp takes no word without a flag") for _, word in found.positional
    )
    reading = Reading(launch, version_text, found, context_is_total=True, devices=launch.devices)
    fitting = version.is_in(parse("llama.cpp", _FIT_SINCE, catalog), None)
    tri_state = version.is_in(parse("llama.cpp", TRI_STATE_FLASH_ATTN, catalog), None)
    _model(reading, found)
    _placement(reading, found, all_by_default=tri_state)
    _slots(reading, found)
    _context(reading, found, fitting=fitting)
    _cache(reading, found, tri_state=tri_state)
    _devices(reading, found)
    _speculation(reading, found)
    placed = any(name in reading.settings for name in ("n_gpu_layers", "n_cpu_moe")) or _states_layers(found)
    reading.fits_itself = fitting and not placed and found.switch("--fit") is not False
    return reading


def _model(reading: Reading, found: Arguments) -> None:
    repo, path = found.text("--hf-repo") or found.text("--docker-repo"), found.text("--model")
    file = found.text("--hf-file") or found.text("--model-url")
    reading.model = file or repo or path
    if repo and not file:
        reading.quant, reading.quant_is_default = _DEFAULT_QUANT, True
    given = found.text("--mmproj") or found.text("--mmproj-url")
    automatic = repo is not None and found.switch("--mmproj-auto") is not False
    on_device = found.switch("--mmproj-offload") is not False
    reading.loads_projector = on_device and (given is not None or (automatic and _is_server(reading)))


def _is_server(reading: Reading) -> bool:
    return reading.launch.program not in {"llama-cli", "llama-completion"}


def _states_layers(found: Arguments) -> bool:
    text = found.text("--n-gpu-layers")
    return text is not None and text.lower() not in {"auto", "-1"}


def _placement(reading: Reading, found: Arguments, *, all_by_default: bool) -> None:
    text = (found.text("--n-gpu-layers") or "").lower()
    if text in {"all", "auto", "-1"}:
        pass
    elif text:
        reading.set(n_gpu_layers=found.whole("--n-gpu-layers"))
    elif not all_by_default:
        reading.set(n_gpu_layers=0)
        reading.remark(
            "ngl", "builds before PR 15434 keep every layer on the host unless -ngl says otherwise"
        )
    reading.set(n_cpu_moe=found.whole("--n-cpu-moe"))
    if found.switch("--cpu-moe"):
        reading.set(n_cpu_moe=ALL_LAYERS)
    overrides = found.text("--override-tensor")
    if overrides is not None:
        _override(reading, overrides)
    if found.last("--n-cpu-ffn") or found.last("--moe-cache-mib"):
        reading.remark("not-counted", "--n-cpu-ffn and --moe-cache-mib are not accounted for")
    if found.switch("--kv-offload") is False:
        reading.set(kv_offload=False)
    if found.text("--rpc"):
        reading.remark("not-counted", "devices behind --rpc are not accounted for")


def _override(reading: Reading, overrides: str) -> None:
    """`-ot`: a pattern that moves all experts to the host is `--cpu-moe`; others are not accounted."""
    for override in overrides.split(","):
        pattern, _, place = override.rpartition("=")
        try:
            moves_experts = pattern != "" and all(re.search(pattern, name) for name in _EXPERTS)
        except re.error as error:
            raise UsageError(f"-ot {pattern!r} is no regular expression: {error}") from error
        if moves_experts and place.upper() == "CPU":
            reading.set(n_cpu_moe=ALL_LAYERS)
            reading.remark("override", f"-ot {override} is taken as --cpu-moe: all experts on the host")
        else:
            reading.remark("override", f"-ot {override} cannot be accounted for: the figures leave it out")


def _slots(reading: Reading, found: Arguments) -> None:
    if not _is_server(reading):
        reading.set(parallel=1)
        return
    text = found.text("--parallel")
    if text is not None and text not in {"-1", "auto"}:
        reading.set(parallel=found.whole("--parallel", least=1))
    reading.set(kv_unified=found.switch("--kv-unified"))
    if "parallel" not in reading.settings and reading.settings.get("kv_unified") is True:
        del reading.settings["kv_unified"]  # automatic slots share one cache anyway
    if reading.settings.get("parallel") == 1:
        reading.settings.pop("kv_unified", None)  # one slot is one cache, however it is called


def _context(reading: Reading, found: Arguments, *, fitting: bool) -> None:
    stated = found.whole("--ctx-size")
    reading.context = stated or None
    if stated is None and not fitting:
        reading.default_context = _OLD_CONTEXT
    per_slot = found.whole("--kv-unified-per-slot")
    if per_slot:
        count = reading.settings.get("parallel") or layout(reading.version).default_slots
        if reading.context is None:
            reading.context = per_slot * count
        reading.concurrency = max(1, min(count, reading.context // per_slot))


def _cache(reading: Reading, found: Arguments, *, tri_state: bool) -> None:
    for flag, field in (("--cache-type-k", "kv_type_k"), ("--cache-type-v", "kv_type_v")):
        text = found.text(flag)
        if text is None:
            continue
        name = normalise_kv_type(text)
        if name is None or name not in _CACHE_TYPES:
            option = found.last(flag)
            raise UsageError(
                f"{option.spelled if option else flag} {text!r} is no cache type of llama.cpp",
                f"use one of: {', '.join(_CACHE_TYPES)}",
            )
        reading.settings[field] = name
    option = found.last("--flash-attn")
    if option is None:
        reading.settings["flash_attn"] = tri_state
    else:
        reading.settings["flash_attn"] = found.switch("--flash-attn") is not False
        if tri_state and not option.values:
            reading.remark("flash-attn", f"this build wants a value behind {option.spelled}: on, off or auto")
        elif not tri_state and option.values and option.start >= 0:
            reading.remark("flash-attn", f"before PR 15434 {option.spelled} is a switch without a value")
    if found.switch("--swa-full"):
        reading.set(swa_full=True)
    batch, ubatch = found.whole("--batch-size", least=1), found.whole("--ubatch-size", least=1)
    reading.set(batch=batch, ubatch=ubatch)
    if batch is not None and batch < (ubatch or 512):
        reading.settings["ubatch"] = batch  # llama.cpp takes the smaller of the two
    elif ubatch is not None and batch is None and ubatch > 2048:
        reading.settings["ubatch"] = 2048


def _devices(reading: Reading, found: Arguments) -> None:
    listed = found.text("--device")
    if listed is not None:
        names = [name for name in listed.split(",") if name]
        reading.devices = len(names)
        if names == ["none"]:
            reading.devices = 1
            reading.set(n_gpu_layers=0)
    parts = found.text("--tensor-split")
    if parts is not None:
        shares = _shares(parts)
        reading.devices = max(len(shares), 1)
        reading.settings["tensor_split"] = shares
    mode = (found.text("--split-mode") or "layer").lower()
    if mode == "none":
        reading.devices = 1
        reading.settings.pop("tensor_split", None)
    elif mode in {"row", "tensor"}:
        reading.remark("split-mode", f"--split-mode {mode} is accounted for as layers over the devices")
    elif mode != "layer":
        raise UsageError(f"--split-mode {mode!r} is unknown", "use none, layer, row or tensor")


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in re.split(r"[,/]", text) if part.strip())
    except ValueError:
        shares = ()
    if not shares or min(shares) < 0 or max(shares) <= 0:
        raise UsageError(f"--tensor-split {text!r} is no list of parts", "write for example -ts 3,1")
    while shares[-1] == 0:  # the last devices get nothing
        shares = shares[:-1]
    return shares


def _speculation(reading: Reading, found: Arguments) -> None:
    kinds = [kind for kind in (found.text("--spec-type") or "").lower().split(",") if kind and kind != "none"]
    if "draft-mtp" in kinds:
        drafts = found.whole("--spec-draft-n-max", least=1) or DRAFT_TOKENS
        reading.settings["spec_decode"] = "mtp" if drafts == DRAFT_TOKENS else f"mtp:{drafts}"
    for flag in _DRAFTS:
        draft = found.text(flag)
        if draft is not None:
            reading.draft = draft
    others = [
        kind for kind in kinds if kind.startswith("draft-") and kind not in {"draft-mtp", "draft-simple"}
    ]
    if others:
        reading.remark("draft", f"--spec-type {', '.join(others)} is not accounted for")
