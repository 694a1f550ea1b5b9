"""Formats: names, aliases, sizes of real files, quality loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.names.quant import split_quant


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


@given(st.text(max_size=60))
def test_splitting_never_invents_text(text):
    rest, quant = split_quant(text)
    assert rest in text
    assert quant in text
