"""Model names: what people type, what rows contain, and what must never be taken for a sibling."""

from __future__ import annotations

import csv
import string
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knowledge.catalog import default_catalog
from knowledge.errors import AmbiguousNameError, UnknownNameError
from knowledge.names.model import match_model, resolve_model
from knowledge.names.tokens import clean_name, name_tokens
from knowledge.paths import observations_dir

CATALOG = default_catalog()
SPELLINGS = [
    (spelling, model.hf_id)
    for model in CATALOG.models.values()
    for spelling in (model.hf_id, model.name, *model.aliases)
]


def resolved(text: str) -> str | None:
    """The id of the model that a person would get, or None where they are asked back."""
    try:
        return resolve_model(text, CATALOG).model.hf_id
    except UnknownNameError:
        return None


def rows() -> Iterator[dict[str, str]]:
    for path in sorted(observations_dir().glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def coverage() -> float:
    """Share of the shipped rows whose model is known."""
    known = total = 0
    for row in rows():
        params_b = float(row["params_b"]) if row["params_b"] else None
        known += match_model(row["model"], CATALOG, params_b) is not None
        total += 1
    return known / total


def test_nearly_all_shipped_rows_name_a_known_model():
    assert coverage() >= 0.97


def test_keys_of_spellings_are_unique():
    owners: dict[tuple[str, ...], str] = {}
    for spelling, hf_id in SPELLINGS:
        tokens = name_tokens(clean_name(spelling)[0])
        assert owners.setdefault(tokens, hf_id) == hf_id, spelling


@pytest.mark.parametrize(("spelling", "hf_id"), SPELLINGS)
def test_every_spelling_names_its_own_entry(spelling, hf_id):
    assert resolved(spelling) == hf_id
    found = match_model(spelling, CATALOG)
    assert found is not None
    assert found.hf_id == hf_id


DECORATIONS = [
    "{}", "{}-GGUF", "unsloth/{}-GGUF", "{}-Q4_K_M.gguf", "bartowski_{}-Q5_K_M.gguf", "{}-AWQ", "{}-MLX-4bit",
    "{} fp8", "{}:UD-Q4_K_XL", "mradermacher/{}-i1-GGUF", "{}-Q8_0-00001-of-00003.gguf", "{}-exl3:4.0bpw",
]  # fmt: skip


@given(
    spelled=st.sampled_from(SPELLINGS),
    form=st.sampled_from(DECORATIONS),
    case=st.sampled_from([str, str.lower, str.upper]),
)
def test_packaging_changes_nothing(spelled, form, case):
    spelling, hf_id = spelled
    assert resolved(form.format(case(spelling.rsplit("/", 1)[-1]))) == hf_id


@given(spelled=st.sampled_from(SPELLINGS), separator=st.sampled_from([" ", "-", "_"]))
def test_separators_change_nothing(spelled, separator):
    spelling, hf_id = spelled
    name = spelling.rsplit("/", 1)[-1]
    assume(":" not in name)
    assert resolved(name.replace("-", separator)) == hf_id


@given(
    spelled=st.sampled_from(SPELLINGS),
    tune=st.sampled_from(
        ["abliterated", "Uncensored", "heretic", "Writer-v2", "Opus-4.6-Distill", "Storyteller"]
    ),
)
def test_a_tune_of_a_sized_name_keeps_the_shape(spelled, tune):
    spelling, hf_id = spelled
    name = clean_name(spelling)[0]
    base = CATALOG.models[hf_id]
    found = resolved(f"{name}-{tune}")
    if found is not None:
        other = CATALOG.models[found]
        assert (other.total_params_b, other.n_layers) == (base.total_params_b, base.n_layers)


@given(
    spelled=st.sampled_from(SPELLINGS),
    size=st.floats(0.3, 700).map(lambda number: f"{number:.3g}"),
)
def test_another_size_is_another_model(spelled, size):
    """A name with its size replaced never resolves to a model far from the size typed."""
    spelling, hf_id = spelled
    tokens = name_tokens(clean_name(spelling)[0])
    own = [token for token in tokens if token[:-1].replace(".", "").isdigit() and token.endswith("b")]
    assume(len(own) == 1)
    assume("llama4" not in CATALOG.models[hf_id].llama_arch)  # named by active parameters
    typed = " ".join(f"{size}b" if token == own[0] else token for token in tokens)
    found = resolved(typed)
    if found is not None:
        assert float(size) == pytest.approx(CATALOG.models[found].total_params_b, rel=0.2, abs=0.7)


@given(st.text(alphabet=string.printable, max_size=80))
def test_any_text_is_answered(text):
    match_model(text, CATALOG)
    refusal = None
    try:
        resolve_model(text, CATALOG)
    except UnknownNameError as error:
        refusal = error
    if refusal is not None:
        assert "advisor models" in str(refusal)
        assert set(refusal.nearest) <= {model.name for model in CATALOG.models.values()}


@pytest.mark.parametrize(
    ("text", "hf_id", "label", "quant"),
    [
        ("Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.5-35B-A3B", "Qwen3.5-35B-A3B", None),
        ("qwen3.5-35b-a3b", "Qwen/Qwen3.5-35B-A3B", "Qwen3.5-35B-A3B", None),
        ("unsloth/Qwen3.5-35B-A3B-GGUF:UD-Q4_K_XL", "Qwen/Qwen3.5-35B-A3B", "Qwen3.5-35B-A3B", "UD-Q4_K_XL"),
        ("qwen3.5 27b fp8", "Qwen/Qwen3.5-27B", "Qwen3.5-27B", "fp8"),
        ("Llama 3.3 70B Instruct", "meta-llama/Llama-3.3-70B-Instruct", "Llama-3.3-70B-Instruct", None),
        ("Qwen_Qwen3.5-9B", "Qwen/Qwen3.5-9B", "Qwen3.5-9B", None),
        ("Qwen3.6-27B-Q4_K_M.gguf", "Qwen/Qwen3.6-27B", "Qwen3.6-27B", "Q4_K_M"),
        ("qwen3.6:35b", "Qwen/Qwen3.6-35B-A3B", "Qwen3.6-35B-A3B", None),
        ("qwen3 next", "Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen3-Next-80B-A3B-Instruct", None),
        ("phi4", "microsoft/phi-4", "phi-4", None),
        ("phi-4 14b", "microsoft/phi-4", "phi-4", None),
        ("gpt oss 120b", "openai/gpt-oss-120b", "gpt-oss-120b", None),
        ("llama4 scout", "meta-llama/Llama-4-Scout-17B-16E-Instruct", "Llama-4-Scout-17B-16E-Instruct", None),
        ("deepseek-r1:14b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "DeepSeek-R1-Distill-Qwen-14B", None),
        ("Huihui-Qwen3.6-27B-abliterated", "Qwen/Qwen3.6-27B", "Huihui-Qwen3.6-27B-abliterated", None),
        ("ornith 1.0 35b q4_k_m", "Qwen/Qwen3.5-35B-A3B", "Ornith-1.0-35B", "q4_k_m"),
        ("mistral nemo 12b", "mistralai/Mistral-Nemo-Instruct-2407", "Mistral-Nemo-Instruct-2407", None),
        ("step 3.5 flash", "stepfun-ai/Step-3.7-Flash", "Step-3.5-Flash", None),
        ("llama-3_1-8b", "meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct", None),
    ],
)
def test_what_people_type(text, hf_id, label, quant):
    match = resolve_model(text, CATALOG)
    assert (match.model.hf_id, match.label, match.quant_text) == (hf_id, label, quant)


@pytest.mark.parametrize(
    ("text", "among"),
    [
        ("qwen", "Qwen3.8-27B"),
        ("llama 3", "Meta-Llama-3-8B-Instruct"),
        ("qwen3.5", "Qwen3.5-9B"),
        ("qwen 9b", "Qwen3.5-9B"),
        ("gpt-oss", "gpt-oss-20b"),
        ("mistral small", "Mistral-Small-3.2-24B-Instruct-2506"),
        ("mistral small 24b", "Mistral-Small-3.2-24B-Instruct-2506"),
        ("llama 70b", "Llama-3.3-70B-Instruct"),
        ("qwen3 coder", "Qwen3-Coder-Next"),
        ("llama 4", "Llama-4-Scout-17B-16E-Instruct"),
        ("nemotron 3 nano", "NVIDIA-Nemotron-3-Nano-30B-A3B"),
    ],
)
def test_ambiguous_names_list_what_they_may_mean(text, among):
    with pytest.raises(AmbiguousNameError) as caught:
        resolve_model(text, CATALOG)
    assert among in caught.value.nearest
    assert match_model(text, CATALOG) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "🦙", "Q4_K_M", "fp8", "8b", "no-such-model-7B", "qwen3-5-4b", "Qwen3-30B-A1.5B-High-Speed",
        "Qwen3-30B-A6B-16-Extreme", "Qwen3-Coder-REAP-25B-A3B", "Qwen3.6-27B-DFlash", "Qwen3-Embedding-8B",
        "gemma-4-31B-it-assistant", "EAGLE3-Llama-3.1-8B", "Llama-3_3-Nemotron-Super-49B-v1", "llama 3 7b",
        "Qwen3.6-40B-Deckard", "Qwen4-27B", "GLM-4.5V", "MiniMax-M2.6", "phi-4-multimodal", "llama ?B",
        "llama 3B", "diffusiongemma-26B-A4B-it", "DeepSeek-R1-Distill-Qwen-3B",
    ],
)  # fmt: skip
def test_what_is_not_in_the_catalog_stays_unknown(text):
    assert resolved(text) is None
    assert match_model(text, CATALOG) is None


NEAR_MISSES = [
    ("Qwen3-8B", "Qwen3.5-9B"), ("Llama-3.1-8B", "Llama-3.2-1B"), ("Qwen3-30B-A3B", "Qwen3-32B"),
    ("Qwen3-4B", "Qwen3.5-4B"), ("Qwen2.5-7B", "Qwen2-7B"), ("Qwen3.5-27B", "Qwen3.6-27B"),
    ("Llama-3-8B", "Llama-3.1-8B"), ("Llama-3-70B", "Llama-3.3-70B"), ("Llama-2-70B", "Llama-3-70B"),
    ("gemma-3-4b", "gemma-4-E4B"), ("gemma-3n-E4B", "gemma-4-E4B"), ("gemma-2-27b", "gemma-3-27b"),
    ("gpt-oss-20b", "gpt-oss-120b"), ("GLM-4.5", "GLM-4.5-Air"), ("GLM-4.7", "GLM-4.7-Flash"),
    ("DeepSeek-V3", "DeepSeek-V3.2"), ("DeepSeek-R1", "DeepSeek-R1-Distill-Llama-8B"),
    ("phi-4", "phi-4-mini"), ("DeepSeek-V2.5", "DeepSeek-V2-Lite"),
    ("Mistral-Small-3.1-24B", "Mistral-Small-3.2-24B"), ("Ministral-8B-2410", "Ministral-3-8B"),
    ("Devstral-Small-2507", "Devstral-2-123B"), ("Nemotron-3-Nano-4B", "Nemotron-3-Nano-30B-A3B"),
    ("Nemotron-Nano-9B-v2", "Nemotron-Nano-12B-v2"), ("LFM2-8B-A1B", "LFM2-1.2B"),
    ("granite-4.1-3b", "granite-4.1-8b"), ("granite-4.0-h-1b", "granite-4.0-1b"),
    ("MiniMax-M2", "MiniMax-M2.5"), ("Kimi-K2", "Kimi-K2.5"), ("Laguna-S-2.1", "Laguna-XS-2.1"),
    ("Mixtral-8x7B", "Mixtral-8x22B"), ("Ornith-1.0-9B", "Ornith-1.0-35B"),
    ("Qwen3-VL-8B", "Qwen3-8B"), ("Mistral-7B-v0.1", "Mistral-7B-v0.3"),
    ("Qwen3-Next-80B-A3B", "Qwen3-Coder-Next"), ("Yi-6B", "Yi-1.5-9B"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES)
def test_near_misses_are_kept_apart(one, other):
    found = resolved(one), resolved(other)
    assert None not in found
    assert found[0] != found[1]


ROWS = {
    # As the shipped rows have them, with the entry checked by eye.
    "Qwen3.6-35B-A3B": "Qwen/Qwen3.6-35B-A3B",
    "Qwen3.6-27B": "Qwen/Qwen3.6-27B",
    "Kimi-K2.6": "moonshotai/Kimi-K2.6",
    "Qwen3.5-397B-A17B": "Qwen/Qwen3.5-397B-A17B",
    "Llama-2-7B": "meta-llama/Llama-2-7b-hf",
    "llama2-7b": "meta-llama/Llama-2-7b-hf",
    "Llama-2-7B-Chat": "meta-llama/Llama-2-7b-hf",
    "meta-llama-7b": "meta-llama/Llama-2-7b-hf",
    "llama2-13b": "meta-llama/Llama-2-13b-hf",
    "llama2-70b": "meta-llama/Llama-2-70b-hf",
    "Llama-2-70B-Chat": "meta-llama/Llama-2-70b-hf",
    "Llama-3-8B": "meta-llama/Meta-Llama-3-8B-Instruct",
    "Llama-3-8B-Instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
    "Llama-3-70B-Instruct": "meta-llama/Meta-Llama-3-70B-Instruct",
    "Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "Models-Mlx-Community-Meta-Llama-3.1-8B-Instruct-Bf16": "meta-llama/Llama-3.1-8B-Instruct",
    "shisa-v2-llama3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
    "shisa-v2-llama3.3-70b": "meta-llama/Llama-3.3-70B-Instruct",
    "Hermes-3-Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "Llama-3.1-Tulu-3-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "Llama-4-Scout-17B-16E": "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "Llama-4-Scout-109B": "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "Nemotron-3-Nano-30B-A3B": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B",
    "Nemotron-3-Nano-Omni-30B-A3B-Reasoning": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B",
    "Nemotron-Cascade-2-30B-A3B": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B",
    "nemotron-3-nano-4b": "nvidia/NVIDIA-Nemotron-3-Nano-4B",
    "gemma-4-26B-A4B": "google/gemma-4-26B-A4B-it",
    "gemma-4-26B-A4B-it-qat-q4_0": "google/gemma-4-26B-A4B-it",
    "gemma-4-26B": "google/gemma-4-26B-A4B-it",
    "Gemopus-4-26B-A4B-it": "google/gemma-4-26B-A4B-it",
    "gemma-4-12B-agentic-fable5-composer2.5-v2-3.5x-tau2": "google/gemma-4-12B-it",
    "godot-gemma-4-e4b-it": "google/gemma-4-E4B-it",
    "functiongemma-270m-it": "google/gemma-3-270m-it",
    "Amoral-Gemma3-12B": "google/gemma-3-12b-it",
    "Qwen2-7B": "Qwen/Qwen2-7B-Instruct",
    "Qwen2.5-32.8B": "Qwen/Qwen2.5-32B-Instruct",
    "Qwen2.5-VL-7B": "Qwen/Qwen2.5-7B-Instruct",
    "Qwen2.5-Coder-14B-Instruct-AWQ": "Qwen/Qwen2.5-14B-Instruct",
    "Qwen3-235B-A22B-Instruct-2507": "Qwen/Qwen3-235B-A22B",
    "Qwen3-235B-A22B-mix": "Qwen/Qwen3-235B-A22B",
    "Qwen_Qwen3-30B-A3B-Thinking-2507": "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "Qwen3-Coder-30B-A3B": "Qwen/Qwen3-Coder-30B-A3B-Instruct",
    "Qwen3-coder-next": "Qwen/Qwen3-Coder-Next",
    "Qwen3VL-2B-Instruct": "Qwen/Qwen3-VL-2B-Instruct",
    "Deepseek-R1-0528-Qwen3-8B": "Qwen/Qwen3-8B",
    "DeepSeek-R1-Distill-Qwen-14B-Uncensored": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
    "deepseek-r1-7B": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "DeepSeek-R1/V3-671B": "deepseek-ai/DeepSeek-R1",
    "DeepSeek-V3-0324": "deepseek-ai/DeepSeek-V3",
    "DeepSeek-V2.5-1210": "deepseek-ai/DeepSeek-V2.5-1210",
    "DeepSeek-V2-Lite-16B": "deepseek-ai/DeepSeek-V2-Lite",
    "DeepSeek-V4-Flash-0731": "deepseek-ai/DeepSeek-V4-Flash",
    "Mistral-Small-3.1-24B-Instruct-2503": "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    "Ministral-3-14B-Reasoning-2512": "mistralai/Ministral-3-14B-Instruct-2512",
    "Mistral-Large-Instruct-2407": "mistralai/Mistral-Large-Instruct-2411",
    "Mixtral-8x7B-v0.1": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "Devstral-2-123B-Instruct-2512": "mistralai/Devstral-2-123B-Instruct-2512",
    "THUDM_GLM-Z1-32B-0414": "zai-org/GLM-4-32B-0414",
    "ornith-35b": "Qwen/Qwen3.5-35B-A3B",
    "Ornith-1.0-35B-PrismaAURA-4.75bit-vllm": "Qwen/Qwen3.5-35B-A3B",
    "deepreinforce-ai_Ornith-1.0-9B": "Qwen/Qwen3.5-9B",
    "KAT-Coder-V2.5-Dev": "Qwen/Qwen3.5-35B-A3B",
    "Tess-4-27B": "Qwen/Qwen3.6-27B",
    "Qwopus3.6-27B-v2": "Qwen/Qwen3.6-27B",
    "Qwythos-9B-Claude-Mythos-5-1M": "Qwen/Qwen3.5-9B",
    "badtheorylabs_BTL-4": "Qwen/Qwen3.5-35B-A3B",
    "granite-4.1-8b": "ibm-granite/granite-4.1-8b",
    "granite4.1-3b": "ibm-granite/granite-4.1-3b",
    "LFM2.5-2.6B": "LiquidAI/LFM2-2.6B",
    "LFM2.5-8B-A1B": "LiquidAI/LFM2-8B-A1B",
    "Nemotron-3-Puzzle-75B-A9B": "nvidia/NVIDIA-Nemotron-Labs-3-Puzzle-75B-A9B",
    "dots.llm1.inst": "rednote-hilab/dots.llm1.inst",
    "internlm-20b": "internlm/internlm-20b",
    "Laguna-XS-2.1": "poolside/Laguna-XS-2.1",
    "Trinity-Mini": "arcee-ai/Trinity-Mini",
    "Phi-4-mini-reasoning": "microsoft/Phi-4-mini-instruct",
    "Yi-6B-Chat": "01-ai/Yi-6B-Chat",
    "muse-glimmer": "meta-models/Muse-Glimmer-30B",
}


def test_the_rows_that_were_checked_by_eye():
    shipped = {row["model"] for row in rows()}
    for name, hf_id in ROWS.items():
        assert name in shipped, name
        found = match_model(name, CATALOG)
        assert found is not None, name
        assert found.hf_id == hf_id, name


def test_parameters_settle_what_the_name_leaves_open():
    assert match_model("qwen3.5", CATALOG) is None
    assert match_model("qwen3.5", CATALOG, 8.954) is CATALOG.models["Qwen/Qwen3.5-9B"]
    assert match_model("qwen3.5", CATALOG, 500.0) is None
    assert match_model("Qwen3.5-9B-Doubled", CATALOG, 18.0) is None  # a fine-tune cannot have grown
    assert match_model("Qwen3.5-9B-Doubled", CATALOG, 9.0) is CATALOG.models["Qwen/Qwen3.5-9B"]
