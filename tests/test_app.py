"""The page with real answers: what each view shows, what links bring back, what it says to a mistake."""

import json
import os
import random
import re
from pathlib import Path

import pytest

os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")

from streamlit.testing.v1 import AppTest

from advisor import service
from advisor.cli import main
from advisor.page import choice
from knowledge.paths import app_path

WAIT_SECONDS = 60


@pytest.fixture
def opened(monkeypatch, tmp_path_factory):
    """Open the page at a link, `query` being what stands behind the question mark."""
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path_factory.getbasetemp() / "page"))

    def visit(**query):
        page = AppTest.from_file(str(app_path()), default_timeout=WAIT_SECONDS)
        page.query_params.update({key.rstrip("_"): value for key, value in query.items()})
        return page.run()

    return visit


def texts(elements):
    return "\n".join(str(element.value) for element in elements)


def sound(page):
    assert not page.exception
    assert not page.error
    return page


# Explore.


def test_an_exact_configuration_is_shown_in_full(opened):
    page = sound(opened(gpu="3090", model="qwen3.5-9b", quant="Q4_K_M", ctx="64Ki"))
    assert [metric.label for metric in page.metric] == [
        "Decode, empty cache",
        "Decode, 64Ki in cache",
        "Prefill, 2Ki",
        "First token after",
        "Risk of running out",
    ]
    assert "tok/s" in page.metric[0].delta
    assert page.code[0].value.startswith("llama-server ")
    assert "-c 65536" in page.code[0].value
    assert "**Memory: " in texts(page.markdown)
    assert "- `-ngl`: every layer on the GPU" in texts(page.markdown)
    assert page.code[1].value.startswith("llama-bench ")
    assert len(page.dataframe[0].value["source"]) > 0
    assert "**Qwen3.5-9B Q4_K_M · llama.cpp · KV f16 on RTX 3090 (24 GiB), 64Ki tokens**" in texts(
        page.markdown
    )


def test_it_opens_with_an_answer(opened):
    page = sound(opened())
    assert page.code[0].value
    assert page.selectbox(key="quant").value == choice.BEST


def test_a_choice_is_answered_at_once(opened):
    page = opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M")
    before = page.metric[0].value
    page.selectbox(key="gpu").set_value("RTX 4090").run()
    assert sound(page).metric[0].value != before


def test_the_slider_and_the_text_are_one_context(opened):
    page = opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M", ctx="200k")
    assert page.select_slider[0].value == "192Ki"
    assert "-c 200000" in page.code[0].value
    page.select_slider[0].set_value("64Ki").run()
    assert page.text_input(key="ctx").value == "64Ki"
    assert "-c 65536" in sound(page).code[0].value


def test_more_choices_reach_the_command(opened):
    page = opened(model="Qwen3.5-9B", quant="Q4_K_M", gpu="RTX 3090", engine="llama.cpp", parallel="3")
    page.text_input(key="ubatch").set_value("1024").run()
    assert "-np 3" in sound(page).code[0].value
    assert "-ub 1024" in page.code[0].value


@pytest.mark.parametrize("curve", ["Depth", "Context", "Users", "Formats", "Cards"])
def test_every_curve_is_drawn_and_said_in_words(opened, curve):
    page = sound(opened(gpu="RTX 3090", model="Qwen3.5-35B-A3B", quant="Q4_K_M", curve=curve))
    charts = [chart for chart in page.get("vega_lite_chart") if "Memory by part" not in chart.proto.alt]
    assert charts
    for chart in charts:
        assert len(chart.proto.alt) > 20
        assert json.loads(chart.proto.spec)["layer"]


def test_what_does_not_fit_says_so_and_leads_to_what_would(opened):
    page = sound(opened(gpu="RTX 3090", model="Qwen3.5-35B-A3B", quant="Q8_0"))
    assert "does not fit" in texts(page.warning)
    assert "missing" in texts(page.caption)
    next(button for button in page.button if button.label == "What would make it fit?").click().run()
    assert "runs out of memory" in texts(page.error).lower()
    assert page.text_area[0].value.startswith("llama-server")


def test_when_no_format_fits_it_says_why(opened):
    page = opened(gpu="3060", model="qwen3.5-397b-a17b")
    assert not page.exception
    assert "No format" in page.warning[0].value
    assert len(page.dataframe[0].value["why"]) > 0


# Recommend, compare, check.


def test_the_catalog_is_ranked_and_a_row_is_taken_to_explore(opened):
    page = sound(opened(view="Recommend", ctx="100k", concurrency="2"))
    ranked = page.dataframe[0].value
    assert len(ranked) > 1
    assert "all users, tok/s" in ranked.columns
    page.selectbox(key="ranked place").set_value(1).run()
    command = page.code[0].value
    next(button for button in page.button if button.label == "Explore it").click().run()
    assert sound(page).code[0].value == command
    assert page.selectbox(key="model").value == ranked["model"][1]


def test_goals_and_limits_change_the_ranking(opened):
    page = opened(view="Recommend", scope="the chosen model", goal="quality", ctx="16Ki")
    best = page.dataframe[0].value["launched as"][0]
    page.selectbox(key="goal").set_value("speed").run()
    assert sound(page).dataframe[0].value["launched as"][0] != best
    page.number_input(key="min_tps").set_value(999.0).run()
    assert "Nothing fits" in page.warning[0].value


def test_configurations_stand_side_by_side_with_their_differences(opened):
    page = opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M")
    next(button for button in page.button if button.label == "Compare").click().run()
    assert "| model | Qwen3.5-9B |" in texts(page.markdown)
    page.selectbox(key="gpu").set_value("RTX 4090").run()
    page.session_state["pending values"] = {"view": "Explore"}
    page.run()
    next(button for button in page.button if button.label == "Compare").click().run()
    table = texts(sound(page).markdown)
    assert "| GPU | RTX 3090, 24 GiB | **RTX 4090, 24 GiB** |" in table
    assert "▲" in table
    page.button(key="remove A").click().run()
    assert "RTX 3090" not in texts(sound(page).markdown)


PINS = [
    "gpu=RTX 3090&model=Qwen3.5-9B&quant=Q4_K_M&ctx=64Ki",
    "gpu=RTX 4090&vram=48&model=Qwen3.5-27B&quant=FP8&engine=vllm&concurrency=6",
]


def test_a_link_brings_a_comparison_back(opened):
    page = sound(opened(view="Compare", with_=PINS))
    assert "| quantization | Q4_K_M | **FP8** |" in texts(page.markdown)
    page.button(key="explore B").click().run()
    assert sound(page).code[0].value.startswith("vllm serve")
    assert page.text_input(key="vram").value == "48"


def test_a_pinned_mistake_is_one_line(opened):
    page = opened(view="Compare", with_=[PINS[0], "gpu=nothing&model=Qwen3.5-9B&quant=Q4_K_M"])
    assert not page.exception
    assert "unknown gpu" in page.error[0].value.lower()
    assert "Qwen3.5-9B" in texts(page.markdown)


def test_a_command_is_judged_and_mended(opened):
    command = "llama-server -hf unsloth/Qwen3.5-35B-A3B-GGUF:Q4_K_M -c 262144 --no-mmproj"
    page = opened(view="Check", gpu="RTX 3090", command=command)
    assert not page.exception
    assert "Runs out of memory" in page.error[0].value
    page.button(key="use 0").click().run()
    assert sound(page).text_area[0].value != command
    assert "Fits" in page.success[0].value


def test_an_unknown_flag_is_named_with_its_neighbour(opened):
    page = opened(
        view="Check", gpu="RTX 3090", command="llama-server -hf unsloth/Qwen3.5-9B-GGUF:Q4_K_M --flsh-attn"
    )
    assert not page.exception
    assert "--flash-attn" in texts(page.warning)


# Evidence and notes.


def test_runs_are_filtered_and_the_accuracy_is_told_by_slice(opened):
    page = sound(opened(view="Evidence", gpu="RTX 3090", runs_model="Qwen3.5-35B-A3B"))
    runs = page.dataframe[0].value
    assert set(runs["GPU"]) == {"RTX 3090"}
    page.text_input(key="runs_text").set_value("no such word anywhere").run()
    assert "0 of" in texts(sound(page).caption)
    accuracy = page.dataframe[0].value
    assert {"source", "gpu", "model"} <= set(accuracy["left out"])
    page.selectbox(key="part").set_value("prefill").run()
    assert len(page.dataframe[1].value) > 3


def test_release_notes_are_found_with_what_was_measured(opened):
    page = sound(opened(view="Notes", notes_text="prefix caching", notes_engine="vllm"))
    assert "nothing measured" in texts(page.info) or "pairs" in texts(page.info)
    assert "--enable-prefix-caching" in texts(page.markdown)
    page.text_input(key="notes_since").set_value("not a version").run()
    assert not page.exception
    assert len(page.error) == 1


# Links.


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"gpu": "no such card"}, "unknown gpu"),
        ({"gpu": "RTX 4090", "ctx": "banana"}, "banana"),
        ({"gpu": "RTX 4090", "vram": "-3"}, "-3"),
        ({"concurrency": "many"}, "concurrency=many"),
        ({"concurrency": "70000"}, "concurrency=70000"),
        ({"kv_type": "f17"}, "f17"),
        ({"view": "Nowhere", "colour": "red"}, "colour=red"),
        ({"model": "no/such-model-at-all", "quant": "Q99"}, "no/such-model-at-all"),
    ],
)
def test_a_broken_link_falls_back_with_a_note(opened, query, said):
    page = sound(opened(**query))
    assert said in texts(page.warning).lower()
    assert page.code[0].value, "the rest of the link is answered"
    page.run()
    assert said not in texts(page.warning).lower(), "it is said once"


@pytest.mark.parametrize(
    ("key", "wrong", "said"),
    [("ctx", "2M", "at most"), ("vram", "lots", "lots"), ("engine_version", "five", "--engine-version")],
)
def test_a_mistake_is_one_line_and_no_traceback(opened, key, wrong, said):
    page = opened(model="Qwen3.5-9B", quant="Q4_K_M")
    page.text_input(key=key).set_value(wrong).run()
    assert not page.exception
    assert said in page.error[0].value.lower()
    assert "\n" not in page.error[0].value


def test_every_choice_stands_in_the_link_and_a_link_gives_the_page_again(opened):
    page = opened()
    page.selectbox(key="gpu").set_value("RTX 3090").run()
    page.selectbox(key="model").set_value("Qwen3.5-9B").run()
    page.selectbox(key="quant").set_value("Q8_0").run()
    page.text_input(key="ctx").set_value("50k").run()
    page.selectbox(key="kv_type").set_value("q8_0").run()
    page.number_input(key="concurrency").set_value(3).run()
    page.text_input(key="ubatch").set_value("256").run()
    link = {
        "gpu": "RTX 3090", "model": "Qwen3.5-9B", "quant": "Q8_0", "ctx": "50k", "kv_type": "q8_0",
        "concurrency": "3", "ubatch": "256",
    }  # fmt: skip
    again = sound(opened(**link))
    assert again.code[0].value == page.code[0].value
    assert [metric.value for metric in again.metric] == [metric.value for metric in page.metric]


# Your data.


CSV = b"""source_url,model,quant,engine,gpu,depth,decode_tps
file:mine.md,Qwen3.5-9B,Q4_K_M,llama.cpp,RTX 3060 12GB,0,61.5
file:mine.md,Qwen3.5-9B,Q4_K_M,llama.cpp,RTX 3060 12GB,0,banana
file:mine.md,Qwen3.5-9B,Q4_K_M,llama.cpp,RTX 3060 12GB,8192,57.5
"""
LOG = (Path(__file__).parent / "data" / "bench" / "cpu_tiny.md").read_bytes()


@pytest.fixture
def own_home(monkeypatch, tmp_path):
    """A data folder that nothing has been written to."""
    home = tmp_path / "home"
    monkeypatch.setenv("ADVISOR_HOME", str(home))
    return home


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def brought(page, *files):
    page.file_uploader[0].set_value([(name, content, "text/plain") for name, content in files])
    return page.run()


def test_rows_are_shown_before_they_are_kept_and_kept_once_confirmed(opened, own_home):
    page = opened(view="Your data", gpu="RTX 3060 12GB", model="Qwen3.5-9B", quant="Q4_K_M")
    assert service.observations(origin="user").observations == []  # the store is there
    before = contents(own_home)
    page = sound(brought(page, ("mine.csv", CSV)))
    counts = {metric.label: metric.value for metric in page.metric}
    assert (counts["Read"], counts["New"], counts["Rejected"]) == ("3", "2", "1")
    rejects = page.dataframe[-1].value
    assert list(rejects["line"]) == [3]
    assert "decode_tps" in list(rejects["column"])
    assert "off by" in texts(page.markdown)
    assert "**What is chosen now**: decode" in texts(page.markdown)
    assert contents(own_home) == before, "nothing is written before the confirmation"
    next(button for button in page.button if button.label == "Add 2 rows").click().run()
    assert "2 rows were added" in texts(sound(page).success)
    rows = service.observations(origin="user").observations
    assert sorted(row["decode_tps"] for row in rows) == [57.5, 61.5]
    assert {row["file"] for row in rows} == {"mine.csv"}
    again = brought(opened(view="Your data", gpu="RTX 3060 12GB", model="Qwen3.5-9B"), ("mine.csv", CSV))
    assert {metric.label: metric.value for metric in again.metric}["Known already"] == "2"
    assert "nothing in these files" in texts(again.info)


def test_own_rows_are_evidence_at_once(opened, own_home):
    del own_home
    link = {"gpu": "RTX 3060 12GB", "model": "Qwen3.5-9B", "quant": "Q4_K_M"}
    page = brought(opened(view="Your data", **link), ("mine.csv", CSV))
    next(button for button in page.button if button.label.startswith("Add")).click().run()
    assert "mine.md" in " ".join(sound(opened(**link)).dataframe[0].value["source"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "is empty"),
        ("wrong.csv", b"what,ever\n1,2\n", "what"),
        ("picture.csv", b"\x89PNG\x00\x00\x00\x1a", "binary"),
        ("../../escape.csv", b"a;b\n", "not separated by commas"),
        ("torn.json", b'[{"build_commit": ', "torn.json"),
    ],
)
def test_a_bad_file_is_one_line_and_breaks_nothing(opened, own_home, name, content, said):
    page = opened(view="Your data", gpu="RTX 3060 12GB", model="Qwen3.5-9B")
    before = contents(own_home)
    page = brought(page, (name, content))
    assert not page.exception
    told = texts(page.error) + "".join(str(frame.value.to_dict()) for frame in page.dataframe)
    assert said in told
    assert "/" not in texts(page.error), "no folder of the server is shown"
    assert contents(own_home) == before
    assert not [button for button in page.button if button.label.startswith("Add")]


def test_what_llama_bench_printed_is_read_for_the_chosen_device(opened, own_home):
    del own_home
    page = opened(view="Your data", gpu="RTX 3060 12GB", model="Qwen3.5-9B", quant="Q4_K_M")
    page = brought(page, ("bench.md", LOG))
    assert not page.exception
    page.checkbox(key="files said").check().run()
    counts = {metric.label: metric.value for metric in sound(page).metric}
    assert int(counts["Read"]) >= 2


# What may be missing, or change under the page.


def test_it_answers_without_a_store(opened, monkeypatch, tmp_path):
    (tmp_path / "home").write_text("no folder")
    page = opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M")
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path / "home"))
    page.run()
    assert sound(page).code[0].value
    assert len(page.dataframe[0].value), "the shipped runs are read into memory"


def test_a_damaged_store_is_said_and_the_answer_stands(opened, own_home):
    own_home.mkdir()
    (own_home / "store.duckdb").write_bytes(b"no database" * 1000)
    page = sound(opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M"))
    assert page.code[0].value
    assert "damaged" in texts(page.warning) + texts(page.caption)


@pytest.mark.parametrize("name", ["receipts.json", "speed_model.npz"])
def test_a_damaged_file_of_ones_own_is_one_line(opened, own_home, name):
    path = own_home / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nonsense")
    page = opened(gpu="RTX 3090", model="Qwen3.5-9B", quant="Q4_K_M")
    assert not page.exception
    assert len(page.error) >= 1
    assert all("\n" not in error.value for error in page.error)
    assert name.rsplit("/", maxsplit=1)[-1] in texts(page.error)


def test_a_store_that_is_built_anew_under_the_page_is_read_anew(opened, own_home):
    link = {"gpu": "RTX 3060 12GB", "model": "Qwen3.5-9B", "quant": "Q4_K_M"}
    page = sound(opened(**link))
    assert "mine.md" not in " ".join(page.dataframe[0].value["source"])
    mine = own_home.parent / "mine.csv"
    mine.write_bytes(CSV)
    service.ingest(mine)
    assert "mine.md" in " ".join(sound(page.run()).dataframe[0].value["source"])
    for path in own_home.glob("store*"):
        path.unlink()
    assert "mine.md" not in " ".join(sound(page.run()).dataframe[0].value["source"])


# One estimator.


def random_questions(count):
    """Options of `advisor predict`, all over the catalog; those that have an answer."""
    draw = random.Random(20261125)  # noqa: S311 - the same configurations every time
    gpus = [gpu.name for gpu in service.gpus().gpus if gpu.kind != "cpu" and gpu.memory_gib]
    models = [model.name for model in service.models().models]
    found = []
    while len(found) < count:
        options = {
            "gpu": draw.choice(gpus), "model": draw.choice(models),
            "quant": draw.choice(["Q4_K_M", "Q8_0", "IQ4_XS", "UD-Q4_K_XL", "FP8", "AWQ-INT4", "MXFP4"]),
            "ctx": draw.choice(["8Ki", "20000", "64Ki", "100k"]),
            "concurrency": draw.choice(["1", "1", "2", "6", "16"]),
        }  # fmt: skip
        try:
            service.predict(**options)
        except Exception as error:
            if not hasattr(error, "hint"):
                raise
        else:
            found.append(options)
    return found


def test_the_page_says_what_predict_says(opened, capsys):
    """For 50 configurations, figure by figure, through the command line's JSON."""
    for options in random_questions(50):
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        assert main(["predict", *arguments, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        page = sound(opened(**options))
        figures, said = answer["prediction"], {metric.label: metric for metric in page.metric}
        assert page.code[0].value.endswith(answer["command"])
        shown = [
            ("Decode, empty cache", figures["decode_tps"]),
            (f"Decode, {page_tokens(answer['config']['ctx'])} in cache", figures["decode_tps_full_context"]),
            ("Prefill, 2Ki", figures["prefill_tps"]),
        ]
        if answer["config"]["concurrency"] > 1:
            shown.append((f"{answer['config']['concurrency']} users together", figures["decode_tps_total"]))
        for label, figure in shown:
            if figure is None:
                assert said[label].value == "not known"
                continue
            low, high = (number(text) for text in said[label].delta.removesuffix(" tok/s").split("–"))
            assert [number(said[label].value), low, high] == [
                pytest.approx(figure[name], rel=0.006, abs=0.006) for name in ("value", "low", "high")
            ]
        risk = said["Risk of running out"].value
        assert risk == "<0.1 %" or number(risk[:-2]) / 100 == pytest.approx(
            figures["oom_probability"], abs=0.006
        )
        memory = next(m.value for m in page.markdown if m.value.startswith("**Memory"))
        total, unit = re.search(r": ([\d.,]+) (GiB|MiB)\*\*", memory).groups()
        mib = number(total) * (1024 if unit == "GiB" else 1)
        assert mib == pytest.approx(figures["memory"]["total_mib"], rel=0.006)


def number(text):
    return float(text.replace(",", ""))


def page_tokens(tokens):
    return f"{tokens // 1024}Ki" if tokens % 1024 == 0 else f"{tokens // 1000}k"
