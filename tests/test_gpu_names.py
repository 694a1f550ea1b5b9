import contextlib
import csv
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.catalog import default_catalog
from knowledge.errors import AmbiguousNameError, UnknownNameError
from knowledge.names.gpu import match_gpu, resolve_gpu, spelling_key
from knowledge.paths import observations_dir

CATALOG = default_catalog()
SPELLINGS = [(spelling, gpu.name) for gpu in CATALOG.gpus.values() for spelling in (gpu.name, *gpu.aliases)]
NOISE = {"intel", "apple", "radeon", "core", "gpu", "cpu", "graphics"}
VENDOR_NOISE = {
    "NVIDIA": ("", "NVIDIA ", "NVIDIA GeForce ", "nvidia_"),
    "AMD": ("", "AMD ", "AMD Radeon ", "Radeon "),
    "Intel": ("", "Intel ", "Intel(R) "),
    "Apple": ("", "Apple "),
}


def resolve(text, vram_gib=None):
    return resolve_gpu(text, CATALOG, vram_gib)


def test_no_spelling_means_two_devices():
    owners = {}
    for spelling, name in SPELLINGS:
        key = spelling_key(spelling)
        assert key[0], spelling
        assert owners.setdefault(key, name) == name, spelling


@st.composite
def disguised(draw):
    """A spelling as someone else would write it: vendor, case and separators changed, nothing else."""
    spelling, name = draw(st.sampled_from(SPELLINGS))
    words = re.split(r"[ -]", spelling)
    text = words[0]
    for before, word in itertools.pairwise(words):
        # Glued digits are another number (`10606gb`), and noise is only noise as a word of its own.
        numbers = re.search(r"(?:\d|gb)$", before, re.IGNORECASE) or re.match(r"x?\d", word, re.IGNORECASE)
        noise = {re.sub(r"\W", "", part).lower() for part in (before, word)} & NOISE
        text += draw(st.sampled_from([" ", "-", "_", "  ", " " if numbers or noise else ""])) + word
    text = "".join(draw(st.sampled_from([c.lower(), c.upper()])) for c in text)
    prefix = draw(st.sampled_from(VENDOR_NOISE.get(CATALOG.gpus[name].vendor, ("",))))
    return prefix + text, name


@given(disguised())
def test_every_spelling_finds_its_own_device_however_it_is_written(case):
    text, name = case
    assert resolve(text).gpu.name == name
    assert match_gpu(text, CATALOG).name == name


@given(
    st.sampled_from(SPELLINGS),
    st.integers(1, 64),
    st.sampled_from(["{n}x{s}", "{n} x {s}", "{n}× {s}", "{s} x{n}"]),
)
def test_a_count_is_read_and_leaves_the_name_alone(case, count, shape):
    spelling, name = case
    match = resolve(shape.format(n=count, s=spelling))
    assert (match.gpu.name, match.count) == (name, count)


@given(st.text(max_size=40))
def test_any_text_resolves_or_is_refused_in_one_line(text):
    if match_gpu(text, CATALOG) is None:
        with contextlib.suppress(UnknownNameError):
            assert resolve(text).count >= 1  # only a count may add to the name
    with contextlib.suppress(AmbiguousNameError, UnknownNameError):
        assert resolve(text).gpu.name in CATALOG.gpus


@pytest.mark.parametrize(
    ("text", "name", "count", "vram_gib"),
    [
        ("4090", "RTX 4090", 1, None),
        ("RTX4090", "RTX 4090", 1, None),
        ("rtx-4090", "RTX 4090", 1, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop", 1, None),
        ("nvidiageforcertx4090laptopgpu", "RTX 4090 Laptop", 1, None),
        ("rtx 4090 mobile", "RTX 4090 Laptop", 1, None),
        ("4090 24gb", "RTX 4090", 1, 24),
        ("4090 48GB", "RTX 4090 48GB (modded)", 1, 48),
        ("7900xtx", "RX 7900 XTX", 1, None),
        ("5700 xt", "RX 5700 XT", 1, None),
        ("5060 ti 16gb", "RTX 5060 Ti 16GB", 1, 16),
        ("5060ti16gb", "RTX 5060 Ti 16GB", 1, 16),
        ("2x3090", "RTX 3090", 2, None),
        ("2 x RTX 3090", "RTX 3090", 2, None),
        ("3090 x2", "RTX 3090", 2, None),
        ("2x 4090 48gb", "RTX 4090 48GB (modded)", 2, 48),
        ("m4 max", "M4 Max (40-core GPU)", 1, None),
        ("M4 Max 64GB", "M4 Max (40-core GPU)", 1, 64),
        ("M4 Max 36GB", "M4 Max (32-core GPU)", 1, 36),
        ("M3 Ultra (60-core GPU)", "M3 Ultra (60-core GPU)", 1, None),
        ("Apple M2 Ultra 16P+8E", "M2 Ultra CPU 16P+8E", 1, None),
        ("Strix Halo", "Strix Halo (Radeon 8060S)", 1, None),
        ("ryzen ai max+ 395 128gb", "Strix Halo (Radeon 8060S)", 1, 128),
        ("a100 80gb", "A100 SXM 80GB", 1, 80),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB", 1, 40),
        ("NVIDIA H100 80GB HBM3", "H100 SXM", 1, 80),
        ("mi300x", "MI300X", 1, None),
        ("gb10", "DGX Spark (GB10)", 1, None),
        ("DGX Spark", "DGX Spark (GB10)", 1, None),
        ("RTX PRO 6000", "RTX PRO 6000 Blackwell", 1, None),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Blackwell Max-Q", 1, None),
        ("Radeon AI PRO R9700", "AI PRO R9700", 1, None),
        ("Intel(R) Core(TM) i7-7700HQ CPU @ 2.80GHz", "Core i7-7700HQ", 1, None),
        ("AMD Ryzen 7 7840U w/ Radeon  780M Graphics", "Ryzen 7 7840U", 1, None),
        ("AMD Ryzen 9 5900X 12-Core Processor", "Ryzen 9 5900X", 1, None),
        ("Arc Graphics 130V/140V (integrated)", "Arc 130V/140V", 1, None),
        ("７９００ＸＴＸ", "RX 7900 XTX", 1, None),
    ],
)
def test_what_people_type(text, name, count, vram_gib):
    match = resolve(text)
    assert (match.gpu.name, match.count, match.vram_gib) == (name, count, vram_gib)


@pytest.mark.parametrize(
    ("text", "vram_gib", "name"),
    [
        ("4090", 48, "RTX 4090 48GB (modded)"),
        ("4090", 20, "RTX 4090"),  # a limit, not another card
        ("5060 ti", 15.5, "RTX 5060 Ti 16GB"),
        ("a100", 80, "A100 SXM 80GB"),
        ("rtx 3080", 12, "RTX 3080 12GB"),
        ("m4 max", 36, "M4 Max (32-core GPU)"),
    ],
)
def test_memory_given_beside_the_name_chooses_the_variant(text, vram_gib, name):
    match = resolve(text, vram_gib)
    assert match.gpu.name == name
    assert match.memory_gib == vram_gib


@pytest.mark.parametrize(
    ("text", "vram_gib", "both"),
    [
        ("5060 ti", None, {"RTX 5060 Ti 8GB", "RTX 5060 Ti 16GB"}),
        ("5060 ti", 12, {"RTX 5060 Ti 8GB", "RTX 5060 Ti 16GB"}),
        ("4060 Ti", None, {"RTX 4060 Ti 8GB", "RTX 4060 Ti 16GB"}),
        ("2x 9060 xt", None, {"RX 9060 XT 8GB", "RX 9060 XT 16GB"}),
        ("a100", None, {"A100 SXM 40GB", "A100 SXM 80GB"}),
        ("mi50", None, {"MI50 16GB", "MI50 32GB"}),
    ],
)
def test_a_name_sold_in_several_sizes_is_not_guessed(text, vram_gib, both):
    with pytest.raises(AmbiguousNameError) as caught:
        resolve(text, vram_gib)
    assert set(caught.value.nearest) == both


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("40900", "RTX 4090"),
        ("rtx 9090", "RTX 5090"),
        ("rtx 9070", "RX 9070"),
        ("3090 12gb", "RTX 3090"),
        ("rtx 6000", "RTX 6000 Ada"),
        ("0x3090", "RTX 3090"),
        ("RTX 4090 + RTX 5090", "RTX 4090"),
        ("7900", "RX 7900 XT"),
        ("banana", None),
        ("", None),
        ("2x", None),
        ("🦄", None),
        ("AMD Radeon Graphics", None),
        ("4090" * 50_000, None),
    ],
)
def test_what_is_not_a_device_is_refused_with_its_neighbours(text, nearest):
    with pytest.raises(UnknownNameError) as caught:
        resolve(text)
    assert not isinstance(caught.value, AmbiguousNameError)
    assert nearest is None or nearest in caught.value.nearest
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "names",
    [
        ("4070", "4070 super", "4070 ti", "4070 ti super", "4070 laptop"),
        ("6800", "6800 xt", "6800m"),
        ("m4", "m4 pro", "m4 max"),
        ("7900 gre", "7900 xt", "7900 xtx", "7900m", "7900x", "ryzen 7900"),
        ("rtx 4000 ada", "rtx 4000 sff ada", "quadro rtx 4000", "rtx pro 4000", "rtx a4000", "p4000"),
        ("h100", "h100 pcie", "h100 nvl", "h200", "gh200", "h20", "h800 sxm5"),
        ("780m", "7840hs"),
    ],
)
def test_neighbours_stay_apart(names):
    assert len({resolve(name).gpu.name for name in names}) == len(names)


def test_rows_without_a_size_mean_the_variant_listed_first():
    assert match_gpu("RTX 5060 Ti", CATALOG).name == "RTX 5060 Ti 16GB"
    assert match_gpu("RTX 5060 Ti", CATALOG, 8.0).name == "RTX 5060 Ti 8GB"
    assert match_gpu("RTX 4090 D", CATALOG, 47.0).name == "RTX 4090 D 48GB (modded)"
    assert match_gpu("Radeon Graphics", CATALOG, 32.0) is None
    assert match_gpu("RTX 4090 + RTX 5090", CATALOG) is None


def test_the_shipped_rows_name_known_devices():
    known, unknown = 0, {}
    for path in sorted(observations_dir().glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                vram_gib = float(row["vram_gib"]) if row["vram_gib"] else None
                if match_gpu(row["gpu"], CATALOG, vram_gib):
                    known += 1
                else:
                    unknown[row["gpu"]] = unknown.get(row["gpu"], 0) + 1
    assert known / (known + sum(unknown.values())) >= 0.99, unknown
