"""A test of llama-bench as a row of observations: names settled, settings in their columns, nothing invented.

A test whose model or device is not known is no row, with the reason. Its forms are `bench_forms`'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from knowledge.catalog import Catalog
from knowledge.ingest.bench_devices import devices_of
from knowledge.ingest.bench_forms import Test
from knowledge.ingest.printed_names import NoRowError, Said, format_of, last_part, model_of
from knowledge.schema import ModelSpec
from knowledge.units import BYTES_PER_GIB

_FIRST_BUILD = 1000
"""Smaller build numbers come from shallow clones and tell nothing."""
_FLASH_OFF_UNTIL, _FLASH_AUTO_FROM = 9265, 9570
"""Builds at which flash attention was off in llama-bench unless asked for, and at which it is automatic
(https://github.com/ggml-org/llama.cpp/pull/23714, of the weeks between): a table is silent on the usual."""
_ALL_LAYERS = 90
"""`-ngl 99` and the like mean all layers."""
_SAME_SIZE, _NEAR_SIZE, _OTHER_SIZE = 0.01, 0.05, 0.2
"""Shares by which parameters differ: of one model; with a head for drafts counted in; of another model."""
_FORK_ONLY = frozenset({
    "mla", "mla_attn", "fmoe", "fused_moe", "rtr", "run_time_repack", "amb", "attn_max_batch", "ser",
})  # fmt: skip
"""Settings that only ik_llama.cpp has."""
_SETTINGS = (
    ("split_mode", "-sm", {"layer", "none", ""}),
    ("tensor_split", "-ts", {""}),
    ("tensor_buft_overrides", "-ot", {"none", ""}),
    ("no_kv_offload", "-nkvo", {"0", ""}),
    ("no_op_offload", "-nopo", {"0", ""}),
    ("fit_target", "-fitt", {"0", ""}),
)
"""Settings without a column, as they are asked for, and the values that say nothing."""
_BITS = re.compile(r"\s+- [\d.]+ bpw.*$")
_GUESSED = re.compile(r"\s*\(guessed\)\s*")
_UNUSUAL_FORMATS = {"IQ3_S mix": "IQ3_M", "all F32": "F32"}


def cells_of(test: Test, source: str, catalog: Catalog, said: Said) -> dict[str, str]:
    """The test as cells of `Observation`; what is not told has no cell.

    Raises:
        NoRowError: no single figure, model or device unknown, or a value that is none.
    """
    fields = test.fields
    figures = _figures(test)
    architecture, stated = _described(fields.get("model_type", ""))
    model, text = _model(test, architecture, catalog, said)
    ran_on = devices_of(test, catalog, said)
    gpu = ran_on.gpu
    build = _whole(test, "build_number") or 0
    fork = bool(_FORK_ONLY & {*fields, *test.unlisted})
    date = fields.get("test_time", "")[:10]
    cells = {
        "source_url": f"bench:{last_part(source)}",
        "observed_on": date if re.fullmatch(r"20\d\d-\d\d-\d\d", date) else "",
        "model": model.name,
        "model_raw": text,
        "weights_gib": _scaled(test, "model_size", BYTES_PER_GIB),
        "params_b": _scaled(test, "model_n_params", 1e9),
        "quant": format_of(text, stated, catalog),
        "engine": "ik_llama.cpp" if fork else "llama.cpp",
        "engine_version": f"b{build}" if build >= _FIRST_BUILD else "",
        "backend": ran_on.backend,
        "gpu": gpu.name,
        "gpu_count": str(ran_on.count),
        "vram_gib": f"{ran_on.vram_gib:g}" if ran_on.vram_gib else "",
        **({} if gpu.kind == "cpu" else _placement(test, model)),
        "kv_type_k": fields.get("type_k", ""),
        "kv_type_v": fields.get("type_v", ""),
        "flash_attn": "" if fork else _flash_attention(test, build),
        "concurrency": "1",
        "batch": fields.get("n_batch", ""),
        "ubatch": fields.get("n_ubatch", ""),
        "spec_decode": "none",
        "flags": _flags(fields, on_cpu=gpu.kind == "cpu"),
        "outcome": "ok",
        "notes": ", ".join(f"{name} {cell}" for name, cell in test.unlisted.items()),
        **figures,
    }
    return {name: cell for name, cell in cells.items() if cell}


def summary_of(test: Test) -> str:
    """A test in a few words, for the list of rejects."""
    fields = test.fields
    names = ("model_filename", "model_type", "n_prompt", "n_gen", "n_depth", "avg_ts")
    words = [f"{name} {last_part(fields[name])}" for name in names if fields.get(name)]
    return test.text or ", ".join(words)


def _figures(test: Test) -> dict[str, str]:
    """The one figure of a test, and what it was measured over."""
    prompt, gen = _whole(test, "n_prompt") or 0, _whole(test, "n_gen") or 0
    if prompt > 0 and gen > 0:
        raise NoRowError(
            test.line, f"pp{prompt}+tg{gen} times prompt and generation together: no single figure"
        )
    if prompt <= 0 and gen <= 0:
        raise NoRowError(test.line, "times neither a prompt nor generation")
    if test.fields.get("embeddings", "0") not in {"0", "false"}:
        raise NoRowError(test.line, "times embeddings, not generation")
    return {
        "depth": str(_whole(test, "n_depth") or 0),
        "prompt_tokens": str(prompt),
        "gen_tokens": str(gen),
        "prefill_tps" if prompt else "decode_tps": test.fields.get("avg_ts", ""),
        "stddev_tps": test.fields.get("stddev_ts", ""),
    }


def _whole(test: Test, name: str) -> int | None:
    """A field that counts; None where it is not told."""
    text = test.fields.get(name)
    if not text:
        return None
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise NoRowError(test.line, f"{name} {text[:40]!r} is not a whole number")
    return int(text)


def _scaled(test: Test, name: str, unit: float) -> str:
    """A large count in a unit; '' where it is not told."""
    text = test.fields.get(name, "")
    if not text or text == "0":
        return ""
    if not re.fullmatch(r"\d{1,18}", text):
        raise NoRowError(test.line, f"{name} {text[:40]!r} is not a whole number")
    return f"{int(text) / unit:.6g}"


def _described(text: str) -> tuple[str, str]:
    """Architecture and format in llama.cpp's description: `qwen3moe 30B.A3B Q4_K - Medium`."""
    words = _GUESSED.sub(" ", text).split(maxsplit=2)
    stated = _BITS.sub("", words[2]) if len(words) > 2 else ""
    return words[0] if words else "", _UNUSUAL_FORMATS.get(stated, stated)


def _model(test: Test, architecture: str, catalog: Catalog, said: Said) -> tuple[ModelSpec, str]:
    """The catalog's model, and what the test calls it: its file, or in a table the description alone."""
    file, description = test.fields.get("model_filename", ""), test.fields.get("model_type", "")
    count = _scaled(test, "model_n_params", 1e9)
    params = float(count) if count else None
    if said.model is None and not file:
        return _of_shape(test, architecture, params, catalog), description
    model, text = model_of([file] if file else [], params, catalog, said, test.line)
    if params and abs(params / model.total_params_b - 1) > _OTHER_SIZE:
        reason = f"has {params:.3g} B parameters where {model.name} has {model.total_params_b:.3g} B"
        raise NoRowError(test.line, f"{reason}, so it is another one: say which with --model")
    return model, text if file else description


def _of_shape(test: Test, architecture: str, params: float | None, catalog: Catalog) -> ModelSpec:
    """The one model of the catalog with the architecture and the parameters that a table states."""
    near = _shaped_so(architecture, params, catalog) if params else ()
    if len(near) == 1:
        return near[0]
    named = f"the model {test.fields.get('model_type', '')[:80]!r}"
    if not near:
        raise NoRowError(test.line, f"{named} is not known: say which with --model")
    names = [model.name for model in near]
    can_be = f"{', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
    raise NoRowError(test.line, f"{named} can be {can_be}: say which with --model")


@lru_cache(maxsize=256)
def _shaped_so(architecture: str, params: float, catalog: Catalog) -> tuple[ModelSpec, ...]:
    """Models of an architecture with so many billions of parameters; the nearest ones where none is equal."""
    off = [
        (abs(params / model.total_params_b - 1), model)
        for model in catalog.models.values()
        if architecture and model.llama_arch == architecture
    ]
    same = tuple(model for difference, model in off if difference <= _SAME_SIZE)
    return same or tuple(model for difference, model in off if difference <= _NEAR_SIZE)


def _placement(test: Test, model: ModelSpec) -> dict[str, str]:
    """What lay on the device and what on the host."""
    fields = test.fields
    layers, moved = _whole(test, "n_gpu_layers"), _whole(test, "n_cpu_moe") or 0
    by_tensor = "CPU" in fields.get("tensor_buft_overrides", "")
    whole = layers is None or layers < 0 or layers > min(model.n_layers, _ALL_LAYERS)
    if layers == 0:
        offload = "cpu"
    elif not whole or moved or by_tensor or fields.get("no_kv_offload", "0") not in {"0", "false"}:
        offload = "partial"
    else:
        # what is made to fit by itself, and what a table without the column says, is not told
        offload = "" if layers is None or fields.get("fit_target", "0") != "0" else "full"
    told = "" if layers is None or (layers < 0 and offload != "full") else f"{layers}"
    return {"ngl": told, "n_cpu_moe": f"{moved}" if moved else "", "offload": offload}


def _flash_attention(test: Test, build: int) -> str:
    """1 or 0; automatic is on, as it is wherever the device can."""
    stated = test.fields.get("flash_attn", "")
    if stated:
        return "0" if stated in {"0", "off", "false"} else "1"
    if build >= _FLASH_AUTO_FROM:
        return "1"
    return "0" if _FIRST_BUILD <= build <= _FLASH_OFF_UNTIL else ""


def _flags(fields: Mapping[str, str], *, on_cpu: bool) -> str:
    """Settings that have no column, as llama-bench spells them, behind its own name."""
    words = ["llama-bench"]
    for name, flag, silent in _SETTINGS:
        cell = fields.get(name, "")
        if cell not in silent and set(cell) - set("0./"):
            words.append(f"{flag} {cell.replace('/', ',') if name == 'tensor_split' else cell}")
    threads = fields.get("n_threads", "")
    return " ".join([*words, *([f"-t {threads}"] if threads and on_cpu else [])])
