"""Formats: names, aliases, sizes of real files, quality loss."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.catalog import default_catalog
from knowledge.errors import AmbiguousNameError, UnknownNameError
from knowledge.listed import WHOLE, listed_size_gib
from knowledge.loss import derived_ratio, quality_loss
from knowledge.names.quant import match_quant, quant_key, resolve_quant, split_quant
from knowledge.paths import FACTS, observations_dir
from knowledge.weights import best_weight_bytes, file_tag, stored_format, weight_bytes

CATALOG = default_catalog()
QUANTS = CATALOG.quants
GGUF = ("k-quant", "i-quant", "legacy", "ud", "iqk", "apex", "float")


@pytest.mark.parametrize(
    ("text", "rest", "quant"),
    [
        ("qwen3.5 27b fp8", "qwen3.5 27b", "fp8"),
        ("Qwen3.6-27B-Q4_K_M.gguf", "Qwen3.6-27B", "Q4_K_M"),
        ("unsloth/X-GGUF:UD-Q4_K_XL", "unsloth/X-GGUF", "UD-Q4_K_XL"),
        ("Qwen3-235B-A22B-Q4_K_M-00001-of-00003.gguf", "Qwen3-235B-A22B", "Q4_K_M"),
        ("Qwen/Qwen3.5-27B-GPTQ-Int4", "Qwen/Qwen3.5-27B", "GPTQ-Int4"),
        ("Qwen3-30B-A3B-Instruct-2507-IQ3_S-2.81bpw.gguf", "Qwen3-30B-A3B-Instruct-2507", "IQ3_S-2.81bpw"),
        ("gemma-3-27b-it-qat-q4_0", "gemma-3-27b-it-qat", "q4_0"),
        ("turboderp/Llama-3.1-8B-exl3:4.0bpw", "turboderp/Llama-3.1-8B-exl3", "4.0bpw"),
        ("Q4_K_M", "", "Q4_K_M"),
        ("qwen3:8b", "qwen3:8b", ""),
        ("phi-4", "phi-4", ""),
        ("Qwen2.5-0.5B", "Qwen2.5-0.5B", ""),
        ("DeepSeek-V3.1", "DeepSeek-V3.1", ""),
        ("Llama 3.3 70B Instruct", "Llama 3.3 70B Instruct", ""),
    ],
)
def test_the_format_at_the_end_of_a_name(text, rest, quant):
    assert split_quant(text) == (rest, quant)


def test_a_long_text_is_split_at_its_end():
    assert split_quant("awq-int4-" * 3000 + "x") == ("awq-int4-" * 3000 + "x", "")
    assert split_quant("a" * 50_000 + "-Q8_0") == ("a" * 50_000, "Q8_0")
    assert split_quant("a" * 50_000 + "fp8") == ("a" * 50_000 + "fp8", "")


@given(st.text(max_size=90))
def test_splitting_never_invents_text(text):
    rest, quant = split_quant(text)
    assert rest in text
    assert quant in text


@given(
    quant=st.sampled_from(list(QUANTS.values())),
    change=st.sampled_from([str, str.lower, str.upper, lambda t: t.replace("-", "_"), lambda t: f" {t} "]),
    data=st.data(),
)
def test_every_spelling_names_its_own_entry_and_no_other(quant, change, data):
    spelling = data.draw(st.sampled_from([quant.name, *quant.aliases]))
    assert resolve_quant(change(spelling), CATALOG) is quant


def test_no_spelling_is_shared():
    owners = defaultdict(set)
    for quant in QUANTS.values():
        for spelling in (quant.name, *quant.aliases):
            owners[quant_key(spelling)].add(quant.name)
    assert {key: names for key, names in owners.items() if len(names) > 1} == {}


@pytest.mark.parametrize("name", [name for name, quant in QUANTS.items() if quant.family != "generic"])
def test_a_format_is_found_at_the_end_of_a_file_name(name):
    assert split_quant(f"Qwen3.5-27B-{name}.gguf") == ("Qwen3.5-27B", name)


def test_names_that_resolve_to_nothing_or_to_several():
    with pytest.raises(UnknownNameError, match="Q4_K_M"):
        resolve_quant("Q4_K_N", CATALOG)
    with pytest.raises(UnknownNameError):
        resolve_quant("", CATALOG)
    with pytest.raises(AmbiguousNameError, match="Q4_K_M"):
        resolve_quant("q4", CATALOG)
    assert match_quant("q4", CATALOG) is None
    with pytest.raises(AmbiguousNameError, match="EXL3"):
        resolve_quant("4.0bpw", CATALOG)


def test_a_stated_average_makes_its_own_format():
    exl3 = resolve_quant("exl3 4.25 bpw", CATALOG)
    assert (exl3.bpw, exl3.attn_bpw, exl3.embed_bpw, exl3.output_bpw) == (4.25, 4.25, 16, 6)
    gguf = resolve_quant("IQ3_S-2.81bpw", CATALOG)
    assert (gguf.family, gguf.bpw, gguf.embed_bpw, gguf.ppl_ratio) == ("i-quant", 2.81, 2.81, None)


def test_block_sizes_agree_with_the_reference():
    sizes = pytest.importorskip("gguf.constants").GGML_QUANT_SIZES
    for kind, (elements, size) in sizes.items():
        quant = QUANTS.get(kind.name)
        if quant is None or quant.family not in ("legacy", "float") or quant.down_bpw:
            continue
        assert quant.bpw == 8 * size / elements, kind.name


def test_the_shipped_rows_name_known_formats():
    total = unknown = 0
    for path in sorted(observations_dir().glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["quant"]:
                    total += 1
                    unknown += match_quant(row["quant"], CATALOG) is None
    assert total > 10_000
    assert unknown <= 0.01 * total


def _files():
    with (FACTS / "files.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_name_known_models_and_formats():
    rows = _files()
    assert all(row["source_url"] for row in rows)
    known = [row for row in rows if row["hf_id"] and row["quant"] and row["gib"]]
    assert len(known) > 1000
    assert all(row["hf_id"] in CATALOG.models and row["quant"] in QUANTS for row in known)


def _ratios():
    """Real over predicted size by (family, format, model), of whole files."""
    ratios = defaultdict(list)
    for row in _files():
        if row["hf_id"] and row["quant"] and row["gib"] and row["includes"] == "":
            model, quant = CATALOG.models[row["hf_id"]], QUANTS[row["quant"]]
            predicted = weight_bytes(model, quant).total_gib
            ratios[quant.family, quant.name, model.hf_id].append(float(row["gib"]) / predicted)
    return ratios


def test_predicted_sizes_are_those_of_real_files():
    errors = defaultdict(list)
    for (family, _, _), values in _ratios().items():
        errors[family] += [abs(1 / value - 1) for value in values]
    for family, values in sorted(errors.items()):
        p90 = sorted(values)[int(0.9 * (len(values) - 1))]
        print(f"{family:8s} {len(values):4d} files: median {median(values):6.2%}, p90 {p90:6.2%}")
    assert median([error for values in errors.values() for error in values]) <= 0.03
    for family in GGUF:
        assert median(errors[family]) <= 0.03, family


def test_fitted_formats_hold_on_models_left_out():
    """The constants of recipes without a rule, refitted on the other models, still predict each model."""
    by_format = defaultdict(dict)
    for (family, name, model), values in _ratios().items():
        if family in ("ud", "iqk", "apex"):
            by_format[name][model] = median(values)
    errors = []
    for models in by_format.values():
        for left_out, ratio in models.items():
            others = [value for model, value in models.items() if model != left_out]
            if others:
                errors.append(abs(median(others) / ratio - 1))
    print(f"{len(errors)} models left out: median {median(errors):.2%}")
    assert len(errors) > 200
    assert median(errors) <= 0.04


def test_the_best_size_is_the_stated_one_then_the_listed_one():
    model, quant = CATALOG.models["Qwen/Qwen3.5-27B"], QUANTS["UD-Q4_K_XL"]
    listed = listed_size_gib(model, quant.name, CATALOG)
    assert listed is not None
    assert listed[1].startswith("http")
    best = best_weight_bytes(model, quant, CATALOG)
    assert (best.basis, best.total_gib) == ("listed", pytest.approx(listed[0]))
    stated = best_weight_bytes(model, quant, CATALOG, 17.0)
    assert (stated.basis, stated.total_gib) == ("given", pytest.approx(17.0))
    computed = best_weight_bytes(model, QUANTS["W8A8-INT8"], CATALOG)
    assert computed.basis == "computed"
    assert listed_size_gib(model, "W8A8-INT8", CATALOG) is None


def test_an_unusable_row_is_never_listed():
    skipped = {(r["hf_id"], r["quant"], r["source_url"]) for r in _files() if r["includes"] not in WHOLE}
    for row in _files():
        if row["includes"] not in WHOLE and row["hf_id"] and row["quant"]:
            listed = listed_size_gib(CATALOG.models[row["hf_id"]], row["quant"], CATALOG)
            if listed is not None and (row["hf_id"], row["quant"], listed[1]) in skipped:
                assert listed[0] != pytest.approx(float(row["gib"]))


@pytest.mark.parametrize("quant", QUANTS.values(), ids=lambda quant: quant.name)
def test_every_format_states_its_loss_and_source(quant):
    assert quant.source_url.startswith("http")
    assert quant.loss_basis
    assert quant.ppl_ratio >= 0.99
    assert quant.ppl_ratio_small >= 0.99
    if quant.loss_basis == "derived from bpw":
        bpw = min(quant.bpw, quant.expert_bpw)
        assert quant.ppl_ratio == pytest.approx(derived_ratio(bpw, small=False), abs=1e-4)
        assert quant.ppl_ratio_small == pytest.approx(derived_ratio(bpw, small=True), abs=1e-4)


@given(bpw=st.floats(1.0, 16.0), more=st.floats(0.01, 8.0), small=st.booleans())
def test_more_bits_never_lose_more(bpw, more, small):
    assert derived_ratio(bpw + more, small=small) <= derived_ratio(bpw, small=small)
    assert derived_ratio(bpw, small=True) >= derived_ratio(bpw, small=False)


def test_measured_losses_fall_along_the_usual_ladder():
    model = CATALOG.models["Qwen/Qwen3.5-27B"]
    ladder = [quality_loss(QUANTS[name], model) for name in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q6_K", "BF16")]
    assert all(low > high for low, high in pairwise(ladder))
    assert ladder[-1] == 0
    native = CATALOG.models["openai/gpt-oss-120b"]
    assert quality_loss(QUANTS["MXFP4"], native) < 0.001
    assert math.isfinite(quality_loss(resolve_quant("IQ3_S-2.81bpw", CATALOG), model))


@pytest.mark.parametrize(("name", "checkpoint", "file"), [("120b", 60.8, 59.0), ("20b", 12.8, 11.27)])
def test_natively_four_bit_experts_stay_what_they_are(name, checkpoint, file):
    """A larger file has wider attention and embeddings: 1.9 GiB of gpt-oss-120b double what a token reads."""
    model = CATALOG.models[f"openai/gpt-oss-{name}"]
    whole = best_weight_bytes(model, QUANTS["MXFP4"], CATALOG)
    gguf = stored_format(QUANTS["MXFP4"], model, CATALOG, gguf=True)
    assert (gguf.name, file_tag(gguf)) == ("MXFP4_MOE", "MXFP4")
    small = best_weight_bytes(model, gguf, CATALOG)
    assert whole.total_gib == pytest.approx(checkpoint, rel=0.002)
    assert small.total_gib == pytest.approx(file, rel=0.002)
    assert whole.experts == small.experts
    assert whole.dense > 1.7 * small.dense
    again = weight_bytes(model, gguf, checkpoint)
    assert again.experts == small.experts
    assert again.total_gib == pytest.approx(checkpoint)
    assert stored_format(QUANTS["Q4_K_M"], model, CATALOG, gguf=True).name == "Q4_K_M"
    assert stored_format(QUANTS["MXFP4"], model, CATALOG, gguf=False).name == "MXFP4"


@pytest.mark.parametrize(("name", "gigabytes"), [("31B-it", 32.7), ("26B-A4B-it", 18.8)])
def test_what_a_publisher_keeps_wide_is_counted_wide(name, gigabytes):
    """Of NVIDIA's Gemma 4 in NVFP4 the vision tower's 1.15 GB is what the formula does not count."""
    model, quant = CATALOG.models[f"google/gemma-4-{name}"], QUANTS["NVFP4"]
    computed = weight_bytes(model, quant)
    assert computed.total / 1e9 + 1.15 == pytest.approx(gigabytes, rel=0.003)
    assert best_weight_bytes(model, quant, CATALOG).total / 1e9 == pytest.approx(gigabytes, rel=0.001)
