"""Files that lie, are damaged or cut short: one line of ours, in bounded memory, whatever they say."""

import json
import math
import struct
import tracemalloc

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from knowledge.bounded_json import parse_object
from knowledge.byte_source import HEADER_LIMIT, LocalFolder
from knowledge.catalog import default_catalog
from knowledge.config_json import Config
from knowledge.errors import AdvisorError, ModelFileError, UnsupportedError
from knowledge.gguf_header import read_gguf_header
from knowledge.hub import read_path
from knowledge.model_config import config_shape
from knowledge.safetensors_header import read_safetensors_header, read_tensors
from knowledge.safetensors_model import llama_arch_of, read_safetensors_model

CATALOG = default_catalog()
BOUND = 8 << 20
"""Bytes of memory that refusing a small file may take: a first chunk and change."""


def or_refusal(read):
    """What `read` gives, or None where it refuses in one line; any other exception is a defect."""
    try:
        return read()
    except AdvisorError as error:
        refusal = error
    assert "\n" not in str(refusal)
    return None


class Bytes:
    """A file in memory that remembers how much of it was read; `size` may be a lie."""

    name = "x.gguf"

    def __init__(self, data, size=None):
        self.data, self.size, self.read_bytes = data, len(data) if size is None else size, 0

    def read(self, offset, length):
        self.read_bytes += length
        return self.data[offset : offset + length]


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def header(pairs=(), tensors=(), *, n_pairs=None, n_tensors=None, version=3, magic=b"GGUF"):
    counts = struct.pack(
        "<QQ",
        len(tensors) if n_tensors is None else n_tensors,
        len(pairs) if n_pairs is None else n_pairs,
    )
    return magic + struct.pack("<I", version) + counts + b"".join(pairs) + b"".join(tensors)


def pair(key, kind, raw):
    return text(key) + struct.pack("<I", kind) + raw


def tensor(name="t", dims=(32,), kind=0, offset=0):
    n_dims = struct.pack("<I", len(dims))
    return text(name) + n_dims + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)


HUGE = 2**63
LIES = {
    "empty": b"",
    "magic alone": b"GGUF",
    "another magic": header(magic=b"GGML"),
    "version 1": header(version=1),
    "version 99": header(version=99),
    "big-endian": header(version=0x03000000),
    "many tensors": header(n_tensors=HUGE),
    "many entries": header(n_pairs=HUGE),
    "tensors that are not there": header(n_tensors=100_000),
    "entries that are not there": header(n_pairs=60_000),
    "key of 2 GiB": header([struct.pack("<Q", 2**31)]),
    "text of 2 GiB": header([pair("k", 8, struct.pack("<Q", 2**31))]),
    "text of 2^64-1": header([pair("k", 8, struct.pack("<Q", 2**64 - 1))]),
    "list of 2^63 bytes": header([pair("k", 9, struct.pack("<IQ", 0, HUGE))]),
    "list of 2^63 texts": header([pair("k", 9, struct.pack("<IQ", 8, HUGE))]),
    "list of lists": header([pair("k", 9, struct.pack("<IQ", 9, 1)) * 2]),
    "type 77": header([pair("k", 77, b"")]),
    "key twice": header([pair("k", 4, bytes(4))] * 2),
    "key of no text": header([struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<I", 4) + bytes(4)]),
    "alignment 0": header([pair("general.alignment", 4, bytes(4))]),
    "alignment 3": header([pair("general.alignment", 4, struct.pack("<I", 3))]),
    "alignment is a text": header([pair("general.alignment", 8, text("x"))]),
    "nine dimensions": header([], [tensor(dims=(1,) * 9)]),
    "2^64 elements": header([], [tensor(dims=(2**63, 2**63, 2**63, 2**63))]),
    "no elements": header([], [tensor(dims=(0,))]),
    "half a block": header([], [tensor(dims=(33,), kind=8)]),
    "tensor type 4242": header([], [tensor(kind=4242)]),
    "tensor beyond the end": header([], [tensor(dims=(1024,))]),
    "offset beyond the end": header([], [tensor(offset=2**62)]),
    "same name twice": header([], [tensor(), tensor(offset=128)]) + bytes(512),
    "overlap": header([], [tensor("a"), tensor("b", offset=64)]) + bytes(512),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_gguf_header_that_lies_is_refused_in_a_line_and_little_memory(lie):
    tracemalloc.start()
    try:
        with pytest.raises((ModelFileError, UnsupportedError)) as caught:
            read_gguf_header(Bytes(LIES[lie]))
        assert tracemalloc.get_traced_memory()[1] < BOUND
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


class Endless(Bytes):
    """A list of empty texts that never ends, in a file that claims a petabyte."""

    def read(self, offset, length):
        self.read_bytes += length
        return (self.data[offset:] + bytes(length))[:length]


def test_a_header_without_end_stops_at_the_limit():
    source = Endless(header([pair("k", 9, struct.pack("<IQ", 8, 2**40))]), size=2**50)
    with pytest.raises(ModelFileError, match="more than 64 MiB"):
        read_gguf_header(source)
    assert source.read_bytes <= HEADER_LIMIT


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "valid-F16.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv([1])
    writer.add_file_type(1)
    writer.add_token_list(["a", "b"])
    shapes = {
        "token_embd": (64, 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64),
    }  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    assert read_path(path, CATALOG).model.n_layers == 1
    return data, data.index(b"blk.0.ffn_down.weight") + 60


FEW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(
    edits=st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=8)), max_size=4),
    cut=st.none() | st.integers(0, 2**20),
)
def test_a_damaged_gguf_file_is_read_or_refused(valid, tmp_path, edits, cut):
    raw, header_end = valid
    changed = bytearray(raw)
    for place, new in edits:
        at = place % header_end
        changed[at : at + len(new)] = new
    path = tmp_path / "x-F16.gguf"
    path.write_bytes(bytes(changed if cut is None else changed[: cut % len(raw)]))
    found = or_refusal(lambda: read_path(path, CATALOG))
    assert found is None or 0 < found.weights.total <= len(raw)


def test_every_truncation_is_noticed(valid):
    raw, _ = valid
    for length in range(0, len(raw) - 32, 7):
        with pytest.raises(ModelFileError):
            read_gguf_header(Bytes(raw[:length]))


def stored(entries, data=b"", length=None):
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BOMB = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
MANY = b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"
UNSAFE = {
    "empty": b"",
    "eight bytes": bytes(8),
    "header of 2^63": stored({}, length=2**63) + bytes(16),
    "header beyond the end": stored({}, length=10_000) + bytes(16),
    "no JSON": stored(b"garbage" * 3),
    "no object": stored(b"[1, 2, 3, 4, 5]"),
    "nested deeply": stored(BOMB),
    "many lists": stored(MANY),
    "a number of 10,000 digits": stored(b'{"a": ' + b"9" * 10_000 + b"}"),
    "a key twice": stored(b'{"a": 1, "a": 2}' + b" " * 8),
    "not a number": stored(b'{"a": NaN}' + b" " * 8),
    "no text": stored(b'{"\xff\xfe": 1}' + b" " * 8),
    "entry is a number": stored({"t": 5}),
    "entry is empty": stored({"t": {}}),
    "unknown type": stored({"t": entry("Q4")}, bytes(4)),
    "type is a list": stored({"t": entry(["F32"])}, bytes(4)),
    "negative shape": stored({"t": entry(shape=(-1,), offsets=(0, 4))}, bytes(4)),
    "shape of floats": stored({"t": entry(shape=(1.0,))}, bytes(4)),
    "shape of truths": stored({"t": entry(shape=(True,))}, bytes(4)),
    "shape is an object": stored({"t": {**entry(), "shape": {}}}, bytes(4)),
    "100 dimensions": stored({"t": entry(shape=(1,) * 100)}, bytes(4)),
    "offsets in reverse": stored({"t": entry(offsets=(4, 0))}, bytes(4)),
    "three offsets": stored({"t": entry(offsets=(0, 4, 8))}, bytes(8)),
    "another size": stored({"t": entry(offsets=(0, 8))}, bytes(8)),
    "beyond the end": stored({"t": entry(shape=(2**40,), offsets=(0, 2**42))}, bytes(8)),
    "overlap": stored({"t": entry(), "u": entry()}, bytes(8)),
}


@pytest.mark.parametrize("lie", UNSAFE)
def test_a_safetensors_header_that_lies_is_refused_in_a_line_and_little_memory(lie):
    source = Bytes(UNSAFE[lie])
    tracemalloc.start()
    try:
        with pytest.raises((ModelFileError, UnsupportedError)) as caught:
            read_safetensors_header(source)
        assert tracemalloc.get_traced_memory()[1] < BOUND + 2 * len(source.data)
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@FEW
@given(st.dictionaries(st.text(max_size=20), st.lists(st.integers(0, 5), max_size=3), max_size=6))
def test_whatever_safetensors_writes_is_read_back(shapes):
    shapes.pop("__metadata__", None)
    raw = save({name: np.zeros(shape, dtype=np.float16) for name, shape in shapes.items()})
    read = read_safetensors_header(Bytes(raw)) if len(raw) >= 10 else ()
    assert {tensor.name: list(tensor.shape) for tensor in read} == shapes
    assert all(tensor.size == 2 * math.prod(tensor.shape) for tensor in read)


def shape_of(values):
    config = Config(values)
    return config_shape(config, llama_arch_of(config, CATALOG))


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64,
    "max_position_embeddings": 64, "num_attention_heads": 2, "num_hidden_layers": 1,
    "num_key_value_heads": 1, "vocab_size": 64, "dtype": "float16",
}  # fmt: skip
TENSORS = {
    "model.embed_tokens.weight": (64, 32), "model.layers.0.self_attn.q_proj.weight": (32, 32),
    "model.layers.0.self_attn.k_proj.weight": (16, 32), "model.layers.0.mlp.up_proj.weight": (64, 32),
}  # fmt: skip
WEIGHTS = save({name: np.zeros(shape, dtype=np.float16) for name, shape in TENSORS.items()})


def folder(path, **files):
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (path / name.replace("__", ".")).write_bytes(raw)
    return LocalFolder(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
WORDS = sorted({
    *CONFIG, "text_config", "layer_types", "hybrid_override_pattern", "layers_block_type",
    "linear_attn_config", "full_attn_idxs", "hybrid_layer_pattern", "linear_num_value_heads",
    "full_attention_interval", "head_dim",
    "sliding_window", "sliding_window_pattern", "use_sliding_window", "kv_lora_rank", "num_experts",
    "num_experts_per_tok", "moe_intermediate_size", "mlp_only_layers", "moe_layer_freq", "moe_layers_enum",
    "interleave_moe_layer_step", "first_k_dense_replace", "mlp_layer_types", "quantization_config",
    "quantization", "mamba_n_heads", "mamba_d_head", "model_type", "global_head_dim", "vision_config",
})  # fmt: skip


@FEW
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=4))
@example({"text_config": {"text_config": {"text_config": {}}}})
@example({"num_hidden_layers": 10**8})
@example({"full_attn_idxs": ""})
@example({"linear_attn_config": {"kda_layers": [[]], "num_heads": 1}})
@example({"num_hidden_layers": 1e300})
@example({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"a": 5}}})
def test_values_of_the_wrong_type_are_refused(tmp_path, change):
    raw = json.dumps(CONFIG | change).encode()
    files = folder(tmp_path, config__json=raw, model__safetensors=WEIGHTS)
    found = or_refusal(lambda: read_safetensors_model(files, "x", CATALOG))
    whole = sum(2 * math.prod(shape) for shape in TENSORS.values())
    assert found is None or found.weights.total + found.weights.draft == whole


@FEW
@given(st.lists(st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=2)), min_size=1, max_size=4))
def test_a_damaged_checkpoint_is_read_or_refused(tmp_path, edits):
    changed = bytearray(WEIGHTS)
    for at, new in edits:
        changed[at : at + 1] = new
    files = folder(tmp_path, config__json=CONFIG, model__safetensors=bytes(changed))
    or_refusal(lambda: read_safetensors_model(files, "x", CATALOG))


@pytest.mark.parametrize(
    "name", ["../../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", 5]
)
def test_an_index_leads_nowhere_else(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"t": name}}))
    with pytest.raises(ModelFileError, match=r"lies outside|is missing"):
        read_tensors(LocalFolder(tmp_path))


@pytest.mark.parametrize("index", [b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": {}}', BOMB, b"\x00"])
def test_an_index_of_something_else_is_refused(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_bytes(index)
    with pytest.raises(ModelFileError):
        read_tensors(LocalFolder(tmp_path))


def test_shards_must_be_there_and_of_one_model(tmp_path):
    files = folder(tmp_path, config__json=CONFIG, a__safetensors=WEIGHTS, b__safetensors=WEIGHTS)
    with pytest.raises(ModelFileError, match=r"2 safetensors files and no model\.safetensors\.index"):
        read_tensors(files)
    index = {"weight_map": {"t": "a.safetensors", "u": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match="two shards have a tensor of the same name"):
        read_tensors(LocalFolder(tmp_path))


def test_a_config_of_more_layers_than_there_are_is_refused(tmp_path):
    folder(tmp_path, config__json=CONFIG | {"num_hidden_layers": 2}, model__safetensors=WEIGHTS)
    with pytest.raises(ModelFileError, match="layer 1 of 2 has no tensors"):
        read_path(tmp_path, CATALOG)


def test_a_large_config_is_not_read(tmp_path):
    folder(tmp_path, config__json=b" " * (9 << 20), model__safetensors=WEIGHTS)
    with pytest.raises(ModelFileError, match=r"config\.json is damaged: it has more than 8 MiB"):
        read_path(tmp_path, CATALOG)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": None}, "architectures is missing"),
        ({"architectures": ["NewForCausalLM"]}, "architecture 'NewForCausalLM' is not supported"),
        ({"num_attention_heads": None}, "num_attention_heads is missing"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is '-1'"),
        ({"layer_types": ["odd_attention"]}, "unknown kind 'odd_attention'"),
        ({"layer_types": []}, "0 values for 1 layers"),
        ({"num_experts": 8}, "num_experts_per_tok is missing"),
        ({"num_experts": 8, "num_experts_per_tok": 2}, "moe_intermediate_size is missing"),
        ({"architectures": ["DeepseekV4ForCausalLM"]}, "cannot be read from it"),
    ],
)
def test_what_config_json_does_not_say_is_not_assumed(change, said):
    config = {key: value for key, value in (CONFIG | change).items() if value is not None}
    with pytest.raises((ModelFileError, UnsupportedError), match=said):
        shape_of(config)


@FEW
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(raw):
    assert isinstance(or_refusal(lambda: parse_object(raw, "x")), dict | None)
