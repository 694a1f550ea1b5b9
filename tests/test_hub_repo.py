"""Models on the Hub, over its protocol: real huggingface_hub against a server of this process's own."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save

import advisor
from advisor.setups import options_of
from knowledge.catalog import default_catalog
from knowledge.errors import HubError, ModelFileError, UnknownNameError, UsageError
from knowledge.hub import read_repo
from knowledge.names.place import repo_and_quant

CATALOG = default_catalog()
REPO = "someone/Tiny-GGUF"
HIDDEN, LAYERS, HEADS, KV, FF, VOCAB = 256, 3, 8, 2, 512, 640


def gguf_bytes(tmp_path, kind=gguf.GGMLQuantizationType.Q4_K, file_type=15, vocabulary=VOCAB):
    path = tmp_path / "made.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(file_type)
    writer.add_block_count(LAYERS)
    writer.add_context_length(65536)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_token_list([f"token {index}" for index in range(vocabulary)])
    block, size = gguf.GGML_QUANT_SIZES[kind]
    shapes = {"token_embd": (VOCAB, HIDDEN), "output": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_q": (HIDDEN, HIDDEN), f"blk.{layer}.attn_k": (64, HIDDEN),
            f"blk.{layer}.attn_v": (64, HIDDEN), f"blk.{layer}.attn_output": (HIDDEN, HIDDEN),
            f"blk.{layer}.ffn_gate": (FF, HIDDEN), f"blk.{layer}.ffn_up": (FF, HIDDEN),
            f"blk.{layer}.ffn_down": (HIDDEN, FF),
        }  # fmt: skip
    for name, (rows, columns) in shapes.items():
        data = np.zeros((rows, columns // block * size), dtype=np.uint8)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def checkpoint(shards=1):
    config = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": FF,
        "max_position_embeddings": 65536, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV, "vocab_size": VOCAB, "dtype": "float16",
    }  # fmt: skip
    tensors = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "lm_head.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        start = f"model.layers.{layer}"
        tensors |= {
            f"{start}.self_attn.q_proj.weight": (HIDDEN, HIDDEN), f"{start}.mlp.up_proj.weight": (FF, HIDDEN),
            f"{start}.self_attn.k_proj.weight": (64, HIDDEN),
            f"{start}.self_attn.v_proj.weight": (64, HIDDEN),
            f"{start}.mlp.gate_proj.weight": (FF, HIDDEN), f"{start}.mlp.down_proj.weight": (HIDDEN, FF),
            f"{start}.self_attn.o_proj.weight": (HIDDEN, HIDDEN),
        }  # fmt: skip
    made = {name: np.zeros(shape, dtype=np.float16) for name, shape in tensors.items()}
    files = {"config.json": json.dumps(config).encode()}
    if shards == 1:
        return files | {"model.safetensors": save(made)}
    names = [f"model-{at + 1:05d}-of-{shards:05d}.safetensors" for at in range(shards)]
    places = {name: names[index % shards] for index, name in enumerate(made)}
    index = {"metadata": {}, "weight_map": places}
    stored = {
        shard: save({name: made[name] for name, place in places.items() if place == shard}) for shard in names
    }
    return files | stored | {"model.safetensors.index.json": json.dumps(index).encode()}


def parts_of(data, tmp_path, count):
    """The file in `count` parts, as llama-gguf-split writes them: metadata first, tensors spread."""
    source = tmp_path / "whole.gguf"
    source.write_bytes(data)
    reader = gguf.GGUFReader(source)
    parts = []
    for number in range(count):
        path = tmp_path / f"part{number}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            for key in ("block_count", "context_length", "embedding_length", "feed_forward_length"):
                writer.add_uint32(f"llama.{key}", int(reader.fields[f"llama.{key}"].contents()))
            writer.add_head_count(HEADS)
            writer.add_head_count_kv(KV)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for index, tensor in enumerate(reader.tensors):
            if index % count == number:
                writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        parts.append(path.read_bytes())
    return parts


def test_a_gguf_repository_is_read_by_ranges_and_launched_by_its_name(hub, tmp_path):
    data = gguf_bytes(tmp_path)
    padded = data + bytes(20 << 20)
    hub.repos[REPO] = {"Tiny-Q4_K_M.gguf": padded, "Tiny-Q8_0.gguf": padded, "README.md": b"#"}
    found = read_repo(REPO, "Q4_K_M", CATALOG)
    assert found.repo == f"{REPO}:Q4_K_M"
    assert found.quant.name == "Q4_K_M"
    assert found.model.hf_id == REPO
    assert found.weights.basis == "read"
    with gguf_file(tmp_path, data) as reader:
        assert found.weights.total == sum(int(tensor.n_bytes) for tensor in reader.tensors)
    assert hub.bytes_asked() <= 2 << 20 < len(padded)
    prediction = advisor.predict(model=f"{REPO}:Q4_K_M", gpu="3090", ctx=8192)
    assert f"-hf {REPO}:Q4_K_M" in prediction.command
    assert prediction.prediction.basis in {"extrapolated", "physics"}


@contextmanager
def gguf_file(folder, data):
    path = folder / "reader.gguf"
    path.write_bytes(data)
    try:
        yield gguf.GGUFReader(path)
    finally:
        path.unlink()


def test_a_long_vocabulary_is_passed_over_in_few_requests(hub, tmp_path):
    hub.repos[REPO] = {"Tiny-Q4_K_M.gguf": gguf_bytes(tmp_path, vocabulary=300_000)}
    found = read_repo(REPO, "", CATALOG)
    assert found.model.n_layers == LAYERS
    assert len([1 for _, path, _ in hub.asked if path.startswith("/cdn/")]) <= 5


def test_split_files_in_a_folder_of_the_repository_are_one_model(hub, tmp_path):
    data = gguf_bytes(tmp_path)
    whole = {"Tiny-Q4_K_M.gguf": data}
    parts = parts_of(data, tmp_path, 3)
    split = {f"UD-Q4_K_XL/Tiny-UD-Q4_K_XL-{n:05d}-of-00003.gguf": part for n, part in enumerate(parts, 1)}
    hub.repos[REPO] = whole | split
    one, three = (read_repo(REPO, quant, CATALOG) for quant in ("q4_k_m", "ud-q4_k_xl"))
    assert three.quant.name == "UD-Q4_K_XL"
    assert three.weights == one.weights
    del hub.repos[REPO]["UD-Q4_K_XL/Tiny-UD-Q4_K_XL-00002-of-00003.gguf"]
    with pytest.raises(ModelFileError, match=r"00002-of-00003\.gguf is missing"):
        read_repo(REPO, "UD-Q4_K_XL", CATALOG)


def test_any_part_of_a_split_file_stands_for_the_first(tmp_path):
    data = gguf_bytes(tmp_path)
    paths = [tmp_path / f"Tiny-Q4_K_M-{number:05d}-of-00002.gguf" for number in (1, 2)]
    for path, part in zip(paths, parts_of(data, tmp_path, 2), strict=True):
        path.write_bytes(part)
    first, second = (advisor.predict(model=str(path), gpu="3090", ctx=8192) for path in paths)
    assert first == second
    assert f"-m {paths[0]} " in first.command
    paths[0].rename(tmp_path / "renamed-Q4_K_M.gguf")
    with pytest.raises(ModelFileError, match="is one of 2 parts"):
        advisor.predict(model=str(tmp_path / "renamed-Q4_K_M.gguf"), gpu="3090")
    with pytest.raises(ModelFileError, match=r"00001-of-00002\.gguf is missing"):
        advisor.predict(model=str(paths[1]), gpu="3090")


def test_which_quantization_is_meant_has_to_be_said_and_to_be_there(hub, tmp_path):
    data = gguf_bytes(tmp_path)
    hub.repos[REPO] = {"Tiny-Q4_K_M.gguf": data, "Tiny-Q8_0.gguf": data, "mmproj-F16.gguf": b""}
    with pytest.raises(UsageError, match="one of: Q4_K_M, Q8_0"):
        read_repo(REPO, "", CATALOG)
    with pytest.raises(UsageError, match="has no Q6_K — it has: Q4_K_M, Q8_0"):
        advisor.predict(model=f"{REPO}:Q6_K", gpu="3090")
    assert advisor.predict(model=REPO, quant="Q4_K_M", gpu="3090").config.repo == f"{REPO}:Q4_K_M"


@pytest.mark.parametrize("shards", [1, 3])
def test_a_checkpoint_is_read_from_all_its_shards(hub, shards):
    hub.repos["someone/Tiny"] = checkpoint(shards)
    prediction = advisor.predict(model="someone/Tiny", gpu="4090", ctx=8192)
    assert prediction.command.startswith("vllm serve someone/Tiny ")
    assert prediction.config.quant == "F16"
    assert prediction.config.model == "someone/Tiny"
    found = read_repo("someone/Tiny", "", CATALOG)
    layer = 2 * (2 * HIDDEN * HIDDEN + 2 * 64 * HIDDEN + 3 * FF * HIDDEN)
    assert found.weights.dense == LAYERS * layer
    assert found.weights.output == found.weights.token_embd == 2 * VOCAB * HIDDEN


def test_a_vision_tower_is_loaded_with_the_checkpoint(hub):
    files = checkpoint()
    config = json.loads(files["config.json"])
    whole = {
        "architectures": ["Mistral3ForConditionalGeneration"], "text_config": config, "vision_config": {},
        "dtype": "float16",
    }  # fmt: skip
    tower = {f"vision_tower.transformer.layers.{n}.w": np.zeros((64, 64), np.float16) for n in range(9)}
    hub.repos["someone/Seeing"] = {
        "config.json": json.dumps(whole).encode(),
        "model-00001-of-00002.safetensors": files["model.safetensors"],
        "model-00002-of-00002.safetensors": save(tower),
        "model.safetensors.index.json": json.dumps(
            {
                "weight_map": {
                    "lm_head.weight": "model-00001-of-00002.safetensors",
                    **dict.fromkeys(tower, "model-00002-of-00002.safetensors"),
                }
            }
        ).encode(),
    }
    found = read_repo("someone/Seeing", "", CATALOG)
    assert found.model.multimodal
    assert found.model.n_layers == LAYERS
    assert found.weights.vision == 9 * 64 * 64 * 2
    blind = found.weights.token_embd + found.weights.output + found.weights.dense
    assert found.weights.total == blind + found.weights.vision
    loaded = advisor.predict(model="someone/Seeing", gpu="4090", ctx=8192).config.mmproj_gib
    assert loaded == found.weights.vision / 2**30


def test_unquantized_files_stand_for_any_format_asked_of_them(hub, tmp_path):
    hub.repos["someone/Tiny"] = files = checkpoint()
    asked = {"model": "someone/Tiny", "gpu": "4090", "ctx": 8192}
    small = advisor.predict(**asked, quant="Q4_K_M")
    assert "-m Tiny-Q4_K_M.gguf" in small.command
    own = advisor.predict(**asked)
    assert small.prediction.memory.weights_mib < own.prediction.memory.weights_mib / 2
    for more in ({"quant": "FP8"}, {"model": "someone/Tiny:fp8"}):
        command = advisor.predict(**asked | more, engine="vllm").command
        assert command.startswith("vllm serve someone/Tiny --quantization fp8 ")
    with pytest.raises(UsageError, match="says Q8_0 and --quant says FP8"):
        advisor.predict(**asked | {"model": "someone/Tiny:Q8_0", "quant": "FP8"})
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = advisor.predict(model=str(tmp_path), gpu="4090", quant="FP8", ctx=8192).command
    assert command.startswith(f"vllm serve {tmp_path} --quantization fp8 ")
    assert advisor.recommend(**asked, quant="Q4_K_M").recommendations
    open_choice = advisor.recommend(**asked, top=50, goal="speed").recommendations
    assert len({item.config.quant for item in open_choice}) > 1
    assert {item.config.repo for item in open_choice if item.config.quant == "F16"} <= {"someone/Tiny"}


def test_what_was_read_is_asked_for_by_its_own_options(hub, tmp_path):
    hub.repos[REPO] = {"Tiny-Q4_K_M.gguf": gguf_bytes(tmp_path)}
    path = tmp_path / "Tiny-Q4_K_M.gguf"
    path.write_bytes(hub.repos[REPO]["Tiny-Q4_K_M.gguf"])
    for model in (f"{REPO}:Q4_K_M", str(path)):
        first = advisor.predict(model=model, gpu="3090", ctx=8192)
        assert advisor.predict(**options_of(first.config)) == first


def test_a_repository_that_is_not_there_names_the_nearest_models(hub):
    with pytest.raises(UnknownNameError, match="did you mean") as caught:
        advisor.predict(model="someone/Qwen3.5-9B-Foo-Tiny-7B", gpu="3090")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("code", [401, 403])
def test_a_gated_repository_says_how_to_log_in(hub, code):
    hub.repos["someone/Tiny"] = checkpoint()
    hub.gated["someone/Tiny"] = code
    with pytest.raises(HubError, match=r"gated.*hf auth login"):
        read_repo("someone/Tiny", "", CATALOG)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"null", b'{"siblings": 5}', b'{"siblings": [{}]}', b"{}"]
)
def test_an_answer_that_makes_no_sense_is_a_line(hub, answer):
    hub.odd_answers["someone/Tiny"] = answer
    with pytest.raises((HubError, ModelFileError)) as caught:
        read_repo("someone/Tiny", "", CATALOG)
    assert "\n" not in str(caught.value)


def test_a_server_without_ranges_is_refused_before_a_model_is_downloaded(hub, tmp_path):
    hub.repos[REPO] = {"Tiny-Q4_K_M.gguf": gguf_bytes(tmp_path, vocabulary=300_000)}
    hub.ignores_ranges = True
    with pytest.raises(HubError, match="only as a whole"):
        read_repo(REPO, "", CATALOG)


def test_a_repository_of_something_else_is_refused(hub):
    hub.repos["someone/pictures"] = {"a.png": b"x"}
    with pytest.raises(ModelFileError, match="has no GGUF or safetensors files"):
        read_repo("someone/pictures", "", CATALOG)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", ("a/b", "")),
        ("a/b:Q4_K_M", ("a/b", "Q4_K_M")),
        ("https://huggingface.co/a/b", ("a/b", "")),
        ("b", None),
        ("a/b/c", None),
        ("a/../b", None),
        ("a b/c", None),
        ("/a/b", None),
    ],
)
def test_what_looks_like_a_repository(text, expected):
    assert repo_and_quant(text) == expected


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "advisor", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(advisor.__file__).parents[1])} | environment,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub did not give someone/Tiny"),
        ({"HF_ENDPOINT": "nonsense"}, "the Hub did not give someone/Tiny"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
    ],
)
def test_without_a_network_the_command_ends_with_6_and_a_line(environment, said):
    done = run("predict", "--model", "someone/Tiny", "--gpu", "3090", **environment)
    assert done.returncode == 6
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_offline_the_snapshot_in_the_cache_is_read(hub, tmp_path):
    name = tmp_path / "hub" / "models--someone--Cached"
    folder = name / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (name / "refs").mkdir()
    (name / "refs" / "main").write_text("a" * 40)
    for file, data in checkpoint().items():
        (folder / file).write_bytes(data)
    done = run(
        "predict", "--model", "someone/Cached", "--gpu", "4090", "--json",
        HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path), ADVISOR_HOME=str(tmp_path / "data"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["repo"] == "someone/Cached"


def test_a_plain_unknown_name_asks_nobody(hub):
    with pytest.raises(UnknownNameError):
        advisor.predict(model="no-such-model-at-all", gpu="3090")
    with pytest.raises(UsageError, match=r"there is no '\./no/file\.gguf'"):
        advisor.predict(model="./no/file.gguf", gpu="3090")
    assert hub.asked == []
