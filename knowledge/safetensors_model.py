"""A model from a checkpoint: config.json for its shape, safetensors headers for its exact bytes.

It owns the meeting of the two, and which class of model llama.cpp calls what. It knows no Hub and no paths.
"""

from __future__ import annotations

from functools import lru_cache

from knowledge.bounded_json import parse_object
from knowledge.byte_source import FileSet
from knowledge.catalog import Catalog
from knowledge.config_json import Config
from knowledge.config_quant import elements_of, packed_bits, stated_format
from knowledge.errors import ModelFileError
from knowledge.model_config import config_shape
from knowledge.real_model import RealModel, real_model
from knowledge.safetensors_header import read_tensors, read_whole
from knowledge.tensor_parts import hf_layer, hf_part, sum_parts
from knowledge.units import BYTES_PER_MIB

_CONFIG_LIMIT = 8 * BYTES_PER_MIB
_BESIDE_THE_CATALOG = {
    "Qwen2MoeForCausalLM": "qwen2moe", "Qwen2VLForConditionalGeneration": "qwen2vl",
    "Qwen2_5_VLForConditionalGeneration": "qwen2vl", "Qwen3_5ForCausalLM": "qwen35",
    "Qwen3_5MoeForCausalLM": "qwen35moe", "OlmoForCausalLM": "olmo", "OlmoeForCausalLM": "olmoe",
    "StableLmForCausalLM": "stablelm", "Starcoder2ForCausalLM": "starcoder2", "GemmaForCausalLM": "gemma",
    "GraniteMoeForCausalLM": "granitemoe", "HunYuanDenseV1ForCausalLM": "hunyuan-dense",
    "Exaone4ForCausalLM": "exaone4", "PhiForCausalLM": "phi2", "ArceeForCausalLM": "arcee",
    "NemotronForCausalLM": "nemotron", "ApertusForCausalLM": "apertus", "Llama4ForCausalLM": "llama4",
    "Gemma3nForCausalLM": "gemma3n", "Gemma4ForCausalLM": "gemma4", "BailingMoeForCausalLM": "bailingmoe",
    "BailingMoeV2ForCausalLM": "bailingmoe2", "MiniCPMForCausalLM": "minicpm",
}  # fmt: skip
"""Classes whose config.json is read as their relatives' are, though no model of theirs is catalogued."""


@lru_cache(maxsize=4)
def _classes(catalog: Catalog) -> dict[str, str]:
    """llama.cpp's name of every class."""
    return _BESIDE_THE_CATALOG | {
        model.architecture: model.llama_arch for model in reversed(catalog.models.values())
    }


def llama_arch_of(config: Config, catalog: Catalog) -> str:
    """What llama.cpp calls the architecture; empty where it does not run it.

    Raises:
        UnsupportedError: a class that is not known.
    """
    name = config.architecture
    if name not in _classes(catalog):
        raise config.missing(f"the architecture {name[:60]!r} is not supported")
    # classes that llama.cpp splits by what they are made of
    if name == "NemotronHForCausalLM":
        return "nemotron_h_moe" if config.maybe("n_routed_experts") else "nemotron_h"
    if name == "GraniteMoeHybridForCausalLM":
        return "granitehybrid" if "mamba" in (config.items("layer_types") or ()) else "granite"
    if name == "Mistral3ForConditionalGeneration":
        return "mistral3" if config.values.get("model_type") == "ministral3" else "llama"
    return _classes(catalog)[name]


def read_safetensors_model(files: FileSet, name: str, catalog: Catalog) -> RealModel:
    """The model of a folder with config.json and safetensors files.

    Raises:
        ModelFileError: a file is damaged, cut short or missing, or the two do not belong together.
        UnsupportedError: an architecture or a value that is not known.
    """
    config = Config(parse_object(read_whole(files.open("config.json"), _CONFIG_LIMIT), "config.json"))
    shape = config_shape(config, llama_arch_of(config, catalog))
    tensors = read_tensors(files)
    n_layers = int(shape["n_layers"] or 0)
    present = {layer for tensor in tensors if (layer := hf_layer(tensor.name)) is not None}
    missing = next((index for index in range(n_layers) if index not in present), None)
    if missing is not None:
        raise ModelFileError(f"{files.place}: layer {missing} of {n_layers} has no tensors")
    bits = packed_bits(config)
    parts = sum_parts((hf_part(t.name, n_layers), t.size, elements_of(t, bits)) for t in tensors)
    shape["has_mtp"] = bool(parts.bytes.get("draft"))
    stated = stated_format(config, tensors)
    return real_model(
        shape,
        parts,
        kind="safetensors",
        name=name,
        texts=[name, str(config.whole.get("_name_or_path", ""))[:200]],
        formats=[stated] if stated else [],
        catalog=catalog,
    )
