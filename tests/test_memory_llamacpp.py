"""llama.cpp accounting against llama.cpp's own figures."""

import csv
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.config import Host, LaunchConfig, Setup
from advisor.memory import account
from advisor.memory.builds import NEWEST, build_date, layout
from advisor.memory.compute import Part, compute_bytes, draft_compute_bytes, graph_of, output_bytes
from advisor.memory.kv_cache import cells, kv_bytes
from advisor.memory.llamacpp import slots, total_context
from advisor.memory.placement import place
from advisor.memory.state import draft_length, state_bytes
from knowledge.catalog import default_catalog
from knowledge.errors import UnsupportedError, UsageError
from knowledge.schema import Quant
from knowledge.weights import WeightBytes

DATA = Path(__file__).parent / "data" / "memory"
MIB = 1024**2

MODELS = {
    "DeepSeek-V2-Lite": "deepseek-ai/DeepSeek-V2-Lite",
    "GLM-4.5-Air": "zai-org/GLM-4.5-Air",
    "Llama-3.1-70B": "meta-llama/Llama-3.1-70B-Instruct",
    "Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "Mistral-Small-24B": "mistralai/Mistral-Small-24B-Instruct-2501",
    "Nemotron-3-Nano-30B-A3B": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B",
    "Qwen3-30B-A3B": "Qwen/Qwen3-30B-A3B",
    "Qwen3-32B": "Qwen/Qwen3-32B",
    "Qwen3-Next-80B-A3B": "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen3.5-27B": "Qwen/Qwen3.5-27B",
    "Qwen3.5-35B-A3B": "Qwen/Qwen3.5-35B-A3B",
    "Qwen3.5-4B": "Qwen/Qwen3.5-4B",
    "gemma-3-27b": "google/gemma-3-27b-it",
    "gpt-oss-20b": "openai/gpt-oss-20b",
}
QUANT = Quant(
    name="test-4bit", family="k-quant", bpw=4.5, embed_bpw=8.5, output_bpw=6.5, attn_bpw=4.5, expert_bpw=4.5,
    source_url="test",
)  # fmt: skip


def read(name):
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def model(name):
    return default_catalog().models[MODELS.get(name, name)]


def weights(device_mib=18272.0, *, experts=0.9, tied=False, basis="given"):
    output = 400 * MIB
    body = device_mib * MIB - output
    return WeightBytes(
        token_embd=515.0 * MIB,
        output=output,
        dense=body * (1 - experts),
        experts=body * experts,
        per_layer_embedding=0.0,
        basis=basis,
        tied=tied,
    )


def setup(name="Qwen3.5-35B-A3B", *, bytes_=None, gpu="RTX 3090", host=None, **launch):
    device = default_catalog().gpus[gpu]
    defaults = {"vram_gib": device.memory_gib or 64.0, "ctx": 262144}
    config = LaunchConfig(model=name, quant="test-4bit", gpu=gpu, **(defaults | launch))
    return Setup(config, model(name), QUANT, bytes_ or weights(), device, host or Host(headless=True))


def by_name(name):
    """A model of the catalog by the name of its repository, or of the first accounting."""
    if name in MODELS:
        return model(name)
    return next(spec for spec in default_catalog().models.values() if spec.name == name)


def accounting_error(row):
    shape_model = by_name(row["model"])
    count = int(row["n_parallel"])
    flash = row["flash_attn"] == "1"
    shape = cells(
        shape_model,
        int(row["n_ctx"]),
        count,
        unified=row["kv_unified"] == "1",
        ubatch=int(row["n_ubatch"]),
    )
    build = layout("49bfddeca") if row["llamacpp_version"].startswith("49bf") else NEWEST
    if row["n_outputs_max"] == "2048":
        build = replace(build, all_logits=True)
    compute = compute_bytes(
        shape_model, shape, row["type_k"], row["type_v"], slots=count, flash_attn=flash, layout=build
    )
    kv = kv_bytes(shape_model, shape, row["type_k"], row["type_v"], flash_attn=flash)
    return (
        shape,
        kv / MIB - float(row["kv_mib"]),
        state_bytes(shape_model, count, 0) / MIB - float(row["rs_mib"]),
        output_bytes(shape_model, count) / MIB - float(row["output_mib"]),
        compute / MIB / float(row["compute_mib"]) - 1,
        build.all_logits,
    )


@pytest.mark.parametrize(
    ("name", "count"), [("llamacpp_accounting.csv", 3324), ("llamacpp_more_accounting.csv", 3843)]
)
def test_every_configuration_of_llamacpps_own_accounting(name, count):
    errors = defaultdict(list)
    rows = read(name)
    assert len(rows) == count
    for row in rows:
        shape, kv, state, output, compute, all_logits = accounting_error(row)
        assert shape.cells == int(row["kv_cells_per_stream"])
        assert shape.streams == int(row["n_streams"])
        assert shape.sliding == int(row["swa_cells"] or 0)
        assert abs(kv) <= 0.011, row
        assert abs(state) <= 0.011, row
        assert abs(output) <= 0.01, row
        errors[row["model"], row["flash_attn"] == "1", all_logits].append(abs(compute))
    for (of, flash, all_logits), values in sorted(errors.items()):
        middle, worst = statistics.median(values), max(values)
        print(f"{of:36} fa={flash:d} all_logits={all_logits:d} {middle:.4f} {worst:.4f}")
        assert middle <= (0.09 if all_logits else 0.01), (of, flash, all_logits)
        assert worst <= (0.3 if all_logits else 0.06), (of, flash, all_logits)
    everything = [value for values in errors.values() for value in values]
    exact = sum(value <= 0.002 for value in everything)
    print(f"{exact} of {len(everything)} compute buffers within 0.2 %")
    assert exact >= 0.97 * len(everything)


def test_architectures_that_no_catalogued_model_has():
    """The shape of a catalogued model, built as another architecture."""
    errors = []
    rows = read("llamacpp_architectures.csv")
    assert len({row["arch"] for row in rows}) == 26
    for row in rows:
        changes = json.loads(row["changes"] or "{}") | {"llama_arch": row["arch"], "max_context": 131072}
        spec = default_catalog().models[row["base"]].model_copy(update=changes)
        assert graph_of(spec).measured
        count, flash = int(row["n_parallel"]), row["flash_attn"] == "1"
        types = (row["type_k"], row["type_v"])
        unified = row["kv_unified"] == "1"
        shape = cells(spec, int(row["n_ctx"]), count, unified=unified, ubatch=int(row["n_ubatch"]))
        kv = kv_bytes(spec, shape, *types, flash_attn=flash) / MIB
        assert kv == pytest.approx(float(row["kv_mib"]), abs=0.06), row
        compute = compute_bytes(spec, shape, *types, slots=count, flash_attn=flash, layout=NEWEST) / MIB
        errors.append(abs(compute / float(row["compute_mib"]) - 1))
    print(f"other architectures: median {statistics.median(errors):.4f}, worst {max(errors):.4f}")
    assert statistics.median(errors) < 0.0005
    assert max(errors) < 0.02


def part_bytes(row):
    """What the accounting says of one device of several, of streamed experts, or of a draft head."""
    spec, count = by_name(row["model"]), int(row["n_parallel"])
    ubatch, unified = int(row["n_ubatch"]), row["kv_unified"] == "1"
    shape = cells(spec, int(row["n_ctx"]), count, unified=unified, ubatch=ubatch)
    types = (row["type_k"], row["type_v"])
    if row["what"] == "draft":
        return draft_compute_bytes(spec, shape, *types, slots=count, layout=NEWEST)
    part = Part(copies=4, first=row["device"] == "0")
    if row["what"] == "n_cpu_moe":
        matrices = tuple(float(row[f"{name}_mib"]) * MIB for name in ("gate", "up", "down"))
        part = Part(streamed_layers=int(row["number"]), streamed=matrices)
    return compute_bytes(spec, shape, *types, slots=count, flash_attn=True, layout=NEWEST, part=part)


def test_parts_of_a_model_on_several_devices_and_its_draft_head():
    errors = defaultdict(list)
    for row in read("llamacpp_parts.csv"):
        error = abs(part_bytes(row) / MIB / float(row["compute_mib"]) - 1)
        errors[row["what"]].append(error)
    assert {what: len(values) for what, values in errors.items()} == {
        "devices": 100,
        "n_cpu_moe": 30,
        "draft": 20,
    }
    for what, values in errors.items():
        print(f"{what}: median {statistics.median(values):.4f}, worst {max(values):.4f}")
        assert max(values) <= (0.025 if what == "devices" else 0.002), what


def flags_launch(text):
    tokens = text.split()
    launch = {}
    while tokens:
        flag = tokens.pop(0)
        if flag == "--no-kv-unified":
            launch |= {"kv_unified": False, "ctx": 262144 // 4}  # `ctx` is per sequence
            continue
        value = tokens.pop(0)
        launch |= {
            "-np": {"parallel": int(value) if flag == "-np" else 0},
            "-ctk": {"kv_type_k": value},
            "-ctv": {"kv_type_v": value},
            "-fa": {"flash_attn": False},
            "-ub": {"ubatch": int(value) if flag == "-ub" else 0},
            "-c": {"ctx": int(value) if flag == "-c" else 0},
        }[flag]
    return launch


@pytest.mark.parametrize(
    "row", read("flags_35b_262144.csv"), ids=lambda row: f"{row['era'][:7]} {row['flags']}"
)
def test_what_each_flag_saves_at_262144(row):
    launch = {} if row["flags"].startswith("default") else flags_launch(row["flags"])
    memory = account(setup(engine_version=row["era"].split("(")[1].rstrip(")"), **launch))
    assert memory.kv_cache_mib == pytest.approx(float(row["kv_mib"]), abs=0.01)
    assert memory.recurrent_state_mib == pytest.approx(float(row["rs_mib"]), abs=0.01)
    assert memory.compute_mib == pytest.approx(float(row["compute_mib"]), abs=2)
    buffers = memory.weights_mib + memory.kv_cache_mib + memory.recurrent_state_mib + memory.compute_mib
    assert buffers == pytest.approx(float(row["total_with_19.7GB_file_mib(18272 on GPU)"]), abs=2)


def test_real_logs_of_gpus():
    """Logs of Vulkan and ROCm builds of May 2026: caches exactly, compute buffers within a tenth (median)."""
    errors = []
    names = {
        "Qwen3.6-35B-A3B": "Qwen/Qwen3.5-35B-A3B",
        "Qwen3-Next-80B-A3B-Instruct": "Qwen/Qwen3-Next-80B-A3B-Instruct",
        "Qwen3-Coder-30B-A3B-Instruct": "Qwen/Qwen3-30B-A3B",
    }
    for row in read("llamacpp_logs.csv"):
        if row["model"] not in names or not row["compute_mib"] or not row["n_ctx"]:
            continue
        shape_model = default_catalog().models[names[row["model"]]]
        count = int(row["n_seq"])
        shape = cells(shape_model, int(row["n_ctx"]), count, unified=False, ubatch=int(row["n_ubatch"]))
        if count == 1:  # at several slots the log gives the cache of another micro-batch geometry
            assert kv_bytes(shape_model, shape, row["type_k"], row["type_v"]) / MIB == pytest.approx(
                float(row["kv_mib"]), abs=0.1
            )
        if row["rs_mib"]:
            assert state_bytes(shape_model, count, 0) / MIB == pytest.approx(float(row["rs_mib"]), abs=0.1)
        compute = compute_bytes(
            shape_model, shape, row["type_k"], row["type_v"], slots=count, flash_attn=True,
            layout=layout("2026-05-03"),
        )  # fmt: skip
        errors.append(abs(compute / MIB / float(row["compute_mib"]) - 1))
    assert len(errors) >= 14
    print(f"compute buffers of real logs: median {statistics.median(errors):.3f}, worst {max(errors):.3f}")
    assert statistics.median(errors) < 0.1


def test_the_founding_puzzle_comes_out_of_physics():
    march = {"engine_version": "2026-03"}
    default = account(setup(**march))
    one_slot = account(setup(parallel=1, **march))
    quantized = account(setup(kv_type_k="q8_0", kv_type_v="q8_0", **march))
    assert default.total_mib > default.available_mib
    assert one_slot.total_mib > one_slot.available_mib
    assert quantized.total_mib < quantized.available_mib - 1000


def test_speculation_multiplies_the_recurrent_state():
    assert draft_length("none") == 0
    assert draft_length("mtp") == 3
    assert draft_length("mtp:2") == 2
    assert draft_length("draft") == 0
    # Qwen3.8-27B, one slot, three drafted tokens: 598.5 MiB in a real log (Qwen3.5-27B has the same shape)
    assert state_bytes(model("Qwen3.5-27B"), 1, 3) / MIB == pytest.approx(598.5, abs=0.1)


def test_default_slots_follow_the_engine_and_its_age():
    assert slots(setup().launch) == (4, True)
    assert slots(setup(parallel=4).launch) == (4, False)
    assert slots(setup(parallel=4, kv_unified=True).launch) == (4, True)
    assert slots(setup(engine_version="b6000").launch) == (1, True)
    assert slots(setup(engine="ollama").launch) == (1, True)
    assert total_context(setup(ctx=1000, parallel=4).launch) == 4000
    assert total_context(setup(ctx=1000, concurrency=3).launch) == 3000
    assert total_context(setup(ctx=1000).launch) == 1000


@pytest.mark.parametrize(
    ("text", "month"),
    [("b8182", "2026-03"), ("2026-05-28", "2026-05"), ("b9010 d05fe1d7d", "2026-05"), ("v0.5.0", "2026-09"),
     ("45cac7ca7 (8833)", "2026-04"),
        ("10156", "2026-08"), ("49bfddeca", "2026-03")],
)  # fmt: skip
def test_versions_are_dated(text, month):
    assert str(build_date(text)).startswith(month)


@pytest.mark.parametrize("text", ["spiritbuun fork", "b1-6217b49", "", "PR 4766"])
def test_versions_without_an_age_are_refused(text):
    with pytest.raises(UsageError, match="how old"):
        build_date(text)


def test_offloading_moves_bytes_and_loses_none():
    full = place(setup())
    for launch in ({"n_cpu_moe": 10}, {"n_gpu_layers": 20}, {"n_gpu_layers": 20, "n_cpu_moe": 30}):
        part = place(setup(**launch))
        assert part.device + part.output + part.host == pytest.approx(full.device + full.output + full.host)
        assert part.device < full.device
    assert place(setup(n_cpu_moe=40)).device == pytest.approx(0.1 * (18272 - 400))
    assert place(setup(n_gpu_layers=0)).device == 0
    assert place(setup(n_gpu_layers=99)) == full


def test_a_tied_model_keeps_a_second_copy_on_the_gpu():
    tied = place(setup("Qwen3.5-4B", bytes_=weights(tied=True)))
    assert tied.output == pytest.approx(400)
    assert tied.host == pytest.approx(515)
    assert place(setup("Qwen3.5-4B", bytes_=weights(tied=True), n_gpu_layers=0)).host == pytest.approx(
        18272 - 400 + 515
    )


def test_two_cards_share_layers_and_pipeline_inputs():
    one, two = account(setup()), account(setup(gpu_count=2))
    assert len(two.per_gpu) == 2
    assert one.per_gpu == []
    assert sum(gpu.kv_cache_mib for gpu in two.per_gpu) == pytest.approx(one.kv_cache_mib)
    assert sum(gpu.weights_mib for gpu in two.per_gpu) == pytest.approx(one.weights_mib)
    assert two.total_mib == max(gpu.total_mib for gpu in two.per_gpu)
    assert two.compute_mib > one.compute_mib  # four copies of the inputs


def test_a_pipelined_log_of_two_cards():
    """Qwen3.8-27B, q8_0 cache of 262,144 tokens, micro-batch 256, two 16 GB cards: 1597 MiB per card."""
    memory = account(
        setup("Qwen3.5-27B", gpu="RTX 3090", gpu_count=2, parallel=1, ubatch=256,
              kv_type_k="q8_0", kv_type_v="q8_0")
    )  # fmt: skip
    assert memory.compute_mib == pytest.approx(1597.09, rel=0.01)


def test_host_and_display_use_lower_what_is_available():
    assert account(setup(host=Host(vram_used_gib=2.0))).available_mib == pytest.approx(
        account(setup()).available_mib - 2048
    )
    assert account(setup(host=Host())).available_mib < account(setup()).available_mib


def test_what_cannot_be_computed_is_refused_with_a_reason():
    with pytest.raises(UnsupportedError, match="flash attention"):
        account(setup(flash_attn=False, kv_type_v="q8_0"))
    with pytest.raises(UnsupportedError, match="KV cache type"):
        account(setup(kv_type_k="fp8"))
    with pytest.raises(UnsupportedError, match="koboldcpp"):
        account(setup(engine="koboldcpp"))
    stranger = setup()
    with pytest.raises(UnsupportedError, match="'yonder'"):
        account(replace(stranger, model=stranger.model.model_copy(update={"llama_arch": "yonder"})))
    with pytest.raises(UnsupportedError, match="no llama"):
        graph_of(stranger.model.model_copy(update={"llama_arch": ""}))


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(MODELS)),
    ctx=st.integers(256, 300_000),
    more=st.integers(0, 100_000),
    parallel=st.sampled_from([None, 1, 2, 4, 8]),
    ubatch=st.sampled_from([64, 128, 256, 512, 1024, 2048]),
    kv=st.sampled_from(["f16", "q8_0", "q4_0", "q5_1"]),
    version=st.sampled_from([None, "2026-03", "b9290"]),
)
def test_more_context_slots_or_batch_never_takes_less(name, ctx, more, parallel, ubatch, kv, version):
    common = {"kv_type_k": kv, "kv_type_v": kv, "engine_version": version, "kv_unified": True}
    base = account(setup(name, ctx=ctx, parallel=parallel, ubatch=ubatch, **common))
    assert base.total_mib == pytest.approx(
        base.weights_mib + base.kv_cache_mib + base.recurrent_state_mib + base.compute_mib + base.overhead_mib
    )
    # The graph allocator fills holes: a larger tensor may fit where a smaller one left a useless rest (seen:
    # 463 → 416 MiB of an older layout).
    least = base.total_mib - 0.2 * base.compute_mib
    more_context = account(setup(name, ctx=ctx + more, parallel=parallel, ubatch=ubatch, **common))
    assert more_context.total_mib >= least
    assert more_context.kv_cache_mib >= base.kv_cache_mib
    assert account(setup(name, ctx=ctx, parallel=8, ubatch=ubatch, **common)).total_mib >= least
    assert account(setup(name, ctx=ctx, parallel=parallel, ubatch=2048, **common)).total_mib >= least
    wide = account(
        setup(
            name,
            ctx=ctx,
            parallel=parallel,
            ubatch=ubatch,
            **(common | {"kv_type_k": "f16", "kv_type_v": "f16"}),
        )
    )
    assert wide.kv_cache_mib >= base.kv_cache_mib


def test_every_catalogued_model_is_accounted_or_refused_with_a_reason():
    device = default_catalog().gpus["RTX 3090"]
    accounted = 0
    for spec in default_catalog().models.values():
        config = LaunchConfig(model=spec.hf_id, quant="test-4bit", gpu="RTX 3090", vram_gib=24, ctx=8192)
        case = Setup(config, spec, QUANT, weights(), device)
        try:
            memory = account(case)
        except UnsupportedError as error:
            assert spec.name in str(error)  # noqa: PT017 - the reason is what is tested
        else:
            accounted += 1
            assert memory.total_mib > memory.weights_mib > 0
    assert accounted > 100
