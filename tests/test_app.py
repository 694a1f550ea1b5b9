"""The page, run with real answers: what it shows for a link, and what it says to a mistake."""

import os

import pytest

os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")

from streamlit.testing.v1 import AppTest

from knowledge.paths import app_path

WAIT_SECONDS = 60


@pytest.fixture
def opened(monkeypatch, tmp_path_factory):
    """Open the page at a link, `query` being what stands behind the question mark."""
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path_factory.getbasetemp() / "page"))

    def visit(**query):
        page = AppTest.from_file(str(app_path()), default_timeout=WAIT_SECONDS)
        page.query_params.update(query)
        return page.run()

    return visit


def texts(elements):
    return "\n".join(str(element.value) for element in elements)


def test_an_exact_configuration_is_shown_in_full(opened):
    page = opened(gpu="3090", model="qwen3.5-9b", quant="Q4_K_M", ctx="64Ki")
    assert not page.exception
    assert not page.error
    labels = [metric.label for metric in page.metric]
    assert labels == [
        "Decode, empty cache",
        "Decode, 64Ki tokens in the cache",
        "Prefill of 2Ki tokens",
        "Time to the first token",
    ]
    assert all(metric.value.split()[-1] in {"tok/s", "ms"} for metric in page.metric)
    assert "80 % within" in texts(page.caption)
    assert "llama-server" in page.code[0].value
    assert "-c 65536" in page.code[0].value
    assert "risk of running out" in texts(page.markdown)
    assert "- `-ngl`: every layer on the GPU" in texts(page.markdown)
    assert page.code[1].value.startswith("llama-bench ")
    sources = page.dataframe[0].value["source"]
    assert len(sources) > 0
    assert page.subheader[0].value == "Qwen3.5-9B Q4_K_M · llama.cpp · KV f16 on RTX 3090"


def test_without_a_model_the_catalog_is_ranked_and_a_row_can_be_opened(opened):
    page = opened(ctx="200k", concurrency="2")
    assert not page.exception
    ranked = page.dataframe[0].value
    assert len(ranked) > 1
    assert "all users, tok/s" in ranked.columns
    first = page.subheader[0].value
    page.selectbox[-1].select_index(1).run()
    assert page.subheader[0].value != first
    assert page.code[0].value


def test_a_choice_is_answered_at_once(opened):
    page = opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M")
    before = page.metric[0].value
    page.selectbox(key="gpu").set_value("RTX 4090").run()
    assert not page.exception
    assert page.metric[0].value != before


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"gpu": "no such card"}, "unknown gpu"),
        ({"gpu": "4090", "ctx": "banana"}, "banana"),
        ({"gpu": "4090", "ctx": "2M", "model": "qwen3.5-9b"}, "at most"),
        ({"gpu": "4090", "vram": "-3"}, "-3"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(opened, query, said):
    page = opened(**query)
    assert not page.exception
    assert said in page.error[0].value.lower()
    assert "\n" not in page.error[0].value


def test_what_does_not_fit_says_so(opened):
    page = opened(gpu="3060", model="qwen3.5-122b-a10b", quant="Q8_0")
    assert not page.exception
    assert "does not fit" in page.error[0].value


def test_when_nothing_fits_it_says_why(opened):
    page = opened(gpu="3060", model="qwen3.5-397b-a17b")
    assert not page.exception
    assert "Nothing fits" in page.warning[0].value
