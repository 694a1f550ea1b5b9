"""`advisor check`: the founding puzzle, one answer to one question, and what a change promises, it keeps."""

import io
import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import advisor
from advisor import check, service
from advisor.changes import changes_of
from advisor.cli import main
from advisor.config import Check, Fix
from advisor.engines.parsing import parse_command
from advisor.engines.rewriting import rewritten
from advisor.launched import launched
from advisor.words import SAFE, command_text
from knowledge.catalog import default_catalog
from knowledge.errors import AdvisorError, UnknownNameError, UsageError
from knowledge.real_model import RealModel
from knowledge.weights import weight_bytes

GOLDEN = Path(__file__).with_name("golden") / "check.txt"
FOUNDING = "llama-server -m Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf -c 262144 -ngl 99"
CARD = {"gpu": "3090", "headless": True, "weights_gib": 18.35, "engine_version": "2026-03"}
"""A 19.7 GB file on a 3090 that displays nothing, with a build of March 2026."""


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVISOR_HOME", str(tmp_path))  # no store: a check needs none


@pytest.fixture(scope="module")
def founding():
    return check(FOUNDING, **CARD)


def test_the_founding_puzzle_runs_out_and_the_cache_type_unlocks_it(founding):
    assert founding.verdict == "oom"
    first = founding.fixes[0]
    assert first.change == "KV cache q8_0"
    assert first.command == f"{FOUNDING} -ctk q8_0 -ctv q8_0"
    assert first.oom_probability <= SAFE
    assert first.fits
    assert 1700 < first.saves_mib < 2500
    assert first.decode_tps == founding.prediction.decode_tps
    # CUDA has no fast kernel for one token over a quantized cache (docs/h100_llamacpp.md)
    assert 0.1 < first.speed_lost < 0.4
    assert not any("slot" in fix.change for fix in founding.fixes)
    assert check(f"{FOUNDING} -np 1", **CARD).verdict == "oom"
    assert check(first.command, **CARD).verdict == "fits"


def test_the_founding_puzzle_is_about_march_builds_and_defaults(founding):
    newer = check(FOUNDING, **CARD | {"engine_version": "2026-10"})
    assert newer.prediction.oom_probability < founding.prediction.oom_probability
    assert founding.parsed.ctx == 262144
    assert founding.prediction.memory.kv_cache_mib == pytest.approx(5120, abs=1)
    assert founding.prediction.memory.recurrent_state_mib == pytest.approx(251.25, abs=1)


def masked(text):
    """The text without the figures, which training and data may change."""
    text = re.sub(r"(?<![\w.-])(<?\d+(?:[.,]\d+)*(?:Ki)?|−\d+\.\d)(?![\w.]*\w)( MiB| GiB| %)?", "#", text)
    return re.sub(r"[ ]{2,}", "  ", re.sub(r"[ ]+$", "", text, flags=re.MULTILINE))


def test_the_founding_puzzle_reads_as_it_did(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    arguments = ["check", FOUNDING, "--gpu", "3090", "--headless", "--weights-gib", "18.35"]
    assert main([*arguments, "--engine-version", "2026-03"]) == 0
    text = masked(capsys.readouterr().out)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


COMMANDS = [
    (FOUNDING, CARD),
    ("llama-server -m Qwen3-32B-Q4_K_M.gguf -c 65536 -np 4 -ub 1024", {"gpu": "3090"}),
    ("llama-server -hf unsloth/Qwen3.6-27B-GGUF:UD-Q4_K_XL --jinja -np 1", {"gpu": "3090"}),
    ("LLAMA_ARG_CTX_SIZE=131072 ./llama-server -m Qwen3-8B-Q8_0.gguf -fa off -ngl 99", {"gpu": "3060"}),
    ("llama-server -m gemma-3-27b-it-Q4_K_M.gguf -c 131072 --swa-full -ngl 99", {"gpu": "3090"}),
    (
        "llama-server -m Qwen3-32B-Q6_K.gguf -c 131072 -fa -ngl 99",
        {"gpu": "2x3090", "engine_version": "b6000"},
    ),
    (
        "llama-server -hf unsloth/Qwen3.6-27B-GGUF:UD-Q4_K_XL -md Qwen3-0.6B-Q8_0.gguf -c 98304 -ngl 99",
        {"gpu": "3090"},
    ),
    ("vllm serve Qwen/Qwen3.5-27B-FP8 --max-model-len=131072 --port 8000", {"gpu": "4090", "vram": 48}),
    ("docker run --gpus all vllm/vllm-openai:v0.19.0 --model Qwen/Qwen3-32B -tp 2", {"gpu": "2x4090"}),
    ("python -m sglang.launch_server --model-path Qwen/Qwen3-14B --tp 1", {"gpu": "4090"}),
    (
        "./start.sh --model-dir /m --model-name Qwen3.6-27B-exl3_5.0bpw --cache-size 262144 --vision true",
        {"gpu": "3090"},
    ),
    (
        (
            "python main.py --model-name Qwen3.5-35B-A3B-exl3-6.0bpw_h6 --cache-size 131072 --cache-mode 8,6 "
            "--max-seq-len 65536 --max-batch-size 16 --gpu-split 12 14"
        ),
        {"gpu": "2x4080"},
    ),
    ("OLLAMA_CONTEXT_LENGTH=131072 OLLAMA_NUM_PARALLEL=2 ollama run qwen3.5:27b", {"gpu": "3090"}),
    ("lms load qwen3.5-27b@q4_k_m --context-length 131072 --gpu max -y", {"gpu": "3090"}),
    (
        "lms load lmstudio-community/Qwen3.5-35B-A3B-GGUF/Qwen3.5-35B-A3B-Q8_0.gguf -c 65536 --gpu=0.7",
        {"gpu": "3090"},
    ),
    (
        "python -m mlx_lm.server --model mlx-community/Qwen3.5-27B-4bit --port 8081",
        {"gpu": "m4 pro", "vram": 24, "ctx": "64k"},
    ),
    ("mlx_lm.generate --model Qwen/Qwen3.5-9B -p hi", {"gpu": "m4 pro", "vram": 24, "ctx": "64k"}),
]


@pytest.mark.parametrize(("command", "options"), COMMANDS, ids=lambda value: str(value)[:50])
def test_every_changed_command_does_what_the_change_says(command, options):
    found = check(command, **options)
    assert found.verdict != "fits"
    assert found.fixes
    for fix in found.fixes:
        same_file = "weights in" not in fix.change
        again = check(fix.command, **{k: v for k, v in options.items() if same_file or k != "weights_gib"})
        assert again.prediction.oom_probability == pytest.approx(fix.oom_probability), fix.change
        assert again.prediction.decode_tps == fix.decode_tps, fix.change
        saved = found.prediction.memory.total_mib - again.prediction.memory.total_mib
        assert saved == pytest.approx(fix.saves_mib, abs=0.01), fix.change
        assert {word.flag for word in again.unknown_flags} == {word.flag for word in found.unknown_flags}


@pytest.mark.parametrize(("command", "options"), COMMANDS, ids=lambda value: str(value)[:50])
def test_changes_are_ordered_and_either_fit_or_help(command, options):
    found = check(command, **options)
    assert len({fix.fits for fix in found.fixes}) == 1
    assert len({fix.command for fix in found.fixes}) == len(found.fixes)
    for fix in found.fixes:
        assert fix.fits == (fix.oom_probability <= SAFE)
        assert 0 <= fix.speed_lost < 1
        assert 0 <= fix.quality_lost < 1
        assert fix.command != found.command


RECOMMENDED = [
    {"model": "qwen3.5-35b-a3b", "gpu": "3090", "ctx": "256Ki", "headless": True},
    {"model": "qwen3.6-27b", "gpu": "4090", "ctx": "200k", "spec": "mtp"},
    {"model": "qwen3.5-9b", "gpu": "3060", "ctx": "64k", "concurrency": 6},
    {"model": "qwen3-32b", "gpu": "2x3090", "ctx": "32k", "concurrency": 4, "depth": "8k"},
    {"model": "gpt-oss-120b", "gpu": "4090", "ctx": "64k", "ram": 96},
    {"model": "qwen3.5-27b", "gpu": "4090", "vram": 48, "engine": "vllm", "ctx": "128k", "concurrency": 2},
    {"model": "qwen3.5-27b", "gpu": "4090", "vram": 48, "engine": "vllm", "engine_version": "0.19.0"},
    {"gpu": "7900 xtx", "ctx": "32k"},
    {"model": "qwen3.5-27b", "gpu": "3090", "engine": "exllamav3", "ctx": "64k", "concurrency": 2},
    {"model": "qwen3.5-9b", "gpu": "3090", "engine": "lmstudio", "ctx": "32k", "concurrency": 2},
    {"model": "qwen3.5-9b", "gpu": "m4 max", "engine": "mlx", "ctx": "64k", "concurrency": 2},
    {"model": "qwen3.5-27b", "gpu": "m4 pro", "engine": "mlx", "ctx": "128k"},
]
_ASKED_AGAIN = ("gpu", "vram", "headless", "ram", "concurrency", "depth", "prompt", "engine_version")


@pytest.mark.parametrize("request_", RECOMMENDED, ids=lambda request: " ".join(map(str, request.values())))
def test_a_recommended_command_is_given_the_same_figures(request_):
    again = {*_ASKED_AGAIN, "ctx"} if request_.get("engine") == "mlx" else _ASKED_AGAIN
    beside = {name: value for name, value in request_.items() if name in again}
    found = service.recommend(**request_).recommendations
    assert found
    for item in found:
        again = check(command_text(item), **beside, backend=item.config.backend)
        assert again.prediction == item.prediction, item.command
        assert again.unknown_flags == []


def test_a_predicted_command_is_given_the_same_figures():
    asked = {"model": "qwen3.5-35b-a3b", "quant": "UD-Q4_K_XL", "gpu": "3090", "ctx": "256Ki"}
    predicted = service.predict(**asked, weights_gib=18.35, engine_version="2026-03", engine="llama.cpp")
    again = check(predicted.command, gpu="3090", weights_gib=18.35, engine_version="2026-03")
    assert again.prediction == predicted.prediction


def test_the_answer_has_every_key_of_the_contract(founding):
    found = json.loads(founding.model_dump_json())
    keys = "schema_version verdict parsed unknown_flags prediction fixes warnings"
    assert set(keys.split()) <= set(found)
    assert found["schema_version"] == 1
    for fix in found["fixes"]:
        assert {"change", "command", "saves_mib", "oom_probability", "decode_tps"} <= set(fix)
    assert Check.model_validate(found) == founding
    assert Fix.model_validate(found["fixes"][0]) == founding.fixes[0]
    assert "check" in advisor.__all__


def test_verdicts_follow_the_risk():
    verdicts = [
        check(f"llama-server -m Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf -ngl 99 -np 1 -c {ctx}", **CARD)
        for ctx in (65536, 212992, 262144)
    ]
    assert [found.verdict for found in verdicts] == ["fits", "tight", "oom"]
    assert verdicts[0].fixes == []


def test_an_engine_that_makes_room_by_itself_is_said_to():
    (said,) = [w for w in check(FOUNDING.replace(" -ngl 99", ""), **CARD).warnings if w.rule == "fit"]
    assert "layers on the host" in said.text
    assert "tok/s" in said.text
    silent = check(f"{FOUNDING} --fit off", **CARD)
    assert not [w for w in silent.warnings if w.rule == "fit"]
    shorter = check("llama-server -m Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf", **CARD)
    assert any("shorten the context" in w.text for w in shorter.warnings if w.rule == "fit")


def test_vllm_that_asks_for_more_than_is_free_is_said_to():
    command = "vllm serve Qwen/Qwen3-14B-AWQ --max-model-len 16384 --gpu-memory-utilization"
    greedy, modest = (check(f"{command} {share}", gpu="3090") for share in (0.99, 0.9))
    assert (greedy.verdict, modest.verdict) == ("oom", "fits")
    assert [w.rule for w in greedy.warnings].count("refusal") == 1
    assert "refusal" not in [w.rule for w in modest.warnings]
    assert "of the GPU's memory" in greedy.fixes[0].change


def test_vllm_makes_the_context_what_fits_when_asked_to():
    command = "vllm serve Qwen/Qwen3-8B --max-num-seqs 4 --max-model-len"
    stated, auto = (check(f"{command} {text}", gpu="4090", headless=True) for text in ("40960", "auto"))
    assert auto.parsed.ctx <= stated.parsed.ctx
    assert auto.prediction.oom_probability <= SAFE


def test_unknown_flags_are_data_and_a_warning():
    found = check(f"{FOUNDING} --ctx-sze 5 --gpu-layer-split x", **CARD)
    assert [word.flag for word in found.unknown_flags] == ["--ctx-sze", "--gpu-layer-split"]
    assert found.unknown_flags[0].nearest[0] == "--ctx-size"
    assert sum(warning.rule == "unknown-flag" for warning in found.warnings) == 2


@pytest.mark.parametrize(
    ("command", "options", "says"),
    [
        ("", {}, "no command"),
        ("echo hi", {}, "starts no engine"),
        ("llama-server -c 4096", {}, "no model"),
        ("ollama serve", {}, "no model"),
        ("llama-server -m Qwen9-8B-Q4_K_M.gguf", {}, "did you mean"),
        ("llama-server -m $MODEL", {}, "shell variable"),
        ("llama-server -m Qwen3-8B.gguf", {}, "--quant"),
        ("llama-server -m 'Qwen3-8B-Q4_K_M.gguf", {}, "not closed"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -c", {}, "has no value"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -c many", {}, "whole number"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf", {"gpu": "4099"}, "unknown GPU"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf", {"gpu": None}, "no GPU"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf", {"ctx": 4096}, "no option"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -c 4096", {"depth": "8k"}, "depth"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf", {"engine_version": "banana"}, "how old"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf", {"weights_gib": 400}, "cannot be"),
    ],
)
def test_what_cannot_be_understood_is_one_line(command, options, says):
    with pytest.raises(UsageError, match=says) as caught:
        check(command, **{"gpu": "3090"} | options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_of_any_name_can_be_named_beside_the_command():
    with pytest.raises(UnknownNameError):
        check("llama-server -m model.gguf -c 8192", gpu="3090")
    found = check("llama-server -m model.gguf -c 8192", gpu="3090", model="qwen3-8b", quant="Q8_0")
    assert (found.parsed.model, found.parsed.quant) == ("Qwen/Qwen3-8B", "Q8_0")


@pytest.fixture
def real_file(tmp_path, monkeypatch):
    """A GGUF file whose reader says that it is a Qwen3-8B of its own size."""
    catalog = default_catalog()
    model, quant = catalog.models["Qwen/Qwen3-8B"], catalog.quants["Q4_K_M"]
    path = tmp_path / "my model.gguf"
    path.write_bytes(b"GGUF")
    weights = replace(weight_bytes(model, quant, 5.5), basis="read")
    read = RealModel("mine", model, weights, quant, "gguf", catalogued=True, path=str(path))
    monkeypatch.setattr("knowledge.hub.read_path", lambda *_: read)
    return path


def test_a_file_that_is_there_is_read(real_file):
    predicted = service.predict(model=str(real_file), gpu="3060", ctx="32Ki")
    again = check(predicted.command, gpu="3060")
    assert again.prediction == predicted.prediction
    assert again.parsed.path == str(real_file)
    assert "file-size" not in [warning.rule for warning in again.warnings]
    tight = check(f"llama-server -m '{real_file}' -c 131072 -ngl 99", gpu="3060")
    assert tight.verdict == "oom"
    assert all(str(real_file.parent) in fix.command for fix in tight.fixes)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    broken = tmp_path / "Qwen3-8B-Q4_K_M.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(AdvisorError) as caught:
        check(f"llama-server -m {broken} -c 8192", gpu="3060")
    assert "\n" not in str(caught.value)


def test_projectors_and_drafts_that_are_there_have_their_own_size(tmp_path):
    for name, gib in (("mmproj.gguf", 1), ("draft.gguf", 2)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(gib * 2**30)
    command = f"llama-server -m Qwen3-8B-Q8_0.gguf --mmproj {tmp_path}/mmproj.gguf -md {tmp_path}/draft.gguf"
    found = check(f"{command} -c 8192", gpu="3090").parsed
    assert (found.mmproj_gib, found.draft_gib) == (1.0, 2.0)


def test_the_command_may_come_from_standard_input(monkeypatch, capsys):
    text = (
        "#!/bin/bash\nexport HF_TOKEN=secret\nexport CUDA_VISIBLE_DEVICES=0\n"
        + FOUNDING.replace(" -c", " \\\n  -c")
        + "\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["check", "-", "--gpu", "3090", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parsed"]["ctx"] == 262144
    assert shlex.split(found["command"])[:3] == ["CUDA_VISIBLE_DEVICES=0", "llama-server", "-m"]


def test_projector_and_draft_model_are_counted_and_can_be_left_out():
    plain = "llama-server -hf unsloth/Qwen3.6-27B-GGUF:UD-Q4_K_XL -c 32768 -ngl 99"
    with_images = check(plain, gpu="3090")
    text_only = check(f"{plain} --no-mmproj", gpu="3090")
    drafting = check(f"{plain} --no-mmproj -md Qwen3-0.6B-Q8_0.gguf", gpu="3090")
    assert with_images.parsed.mmproj_gib
    assert text_only.parsed.mmproj_gib is None
    assert with_images.prediction.memory.total_mib > text_only.prediction.memory.total_mib + 800
    assert drafting.parsed.draft_gib == pytest.approx(0.6, abs=0.1)
    assert drafting.prediction.memory.total_mib > text_only.prediction.memory.total_mib + 600
    unknown = check(f"{plain} -md my-own-drafter.gguf", gpu="3090")
    assert any("not counted" in w.text for w in unknown.warnings if w.rule == "draft")
    longer = (check(plain.replace("32768", str(ctx)), gpu="3090") for ctx in range(40960, 98304, 4096))
    tight = next(found for found in longer if found.verdict != "fits")
    assert any(fix.change == "no vision projector" for fix in tight.fixes)


def test_host_memory_limits_what_can_be_moved_there():
    command = "llama-server -m gpt-oss-120b-MXFP4.gguf -c 32768 -ngl 99"
    plenty, little = (check(command, gpu="4090", ram=ram) for ram in (96, 32))
    assert any("on the host" in fix.change for fix in plenty.fixes if fix.fits)
    assert not any("on the host" in fix.change for fix in little.fixes)
    overfull = check(f"{command} --cpu-moe", gpu="4090", ram=32)
    assert [w.rule for w in overfull.warnings if w.rule == "host-memory"]


@pytest.mark.parametrize("verdict", ["fits", "tight", "oom"])
def test_every_verdict_exits_with_0(verdict, capsys):
    ctx = {"fits": 8192, "tight": 212992, "oom": 262144}[verdict]
    command = f"llama-server -m Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf -ngl 99 -np 1 -c {ctx}"
    options = ["--gpu", "3090", "--headless", "--weights-gib", "18.35", "--engine-version", "2026-03"]
    assert main(["check", command, *options]) == 0
    assert capsys.readouterr().out


def test_a_wrong_command_line_exits_with_2(capsys):
    assert main(["check", "llama-server -m x.gguf", "--gpu", "3090"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_every_change_of_a_tabbyapi_launch_can_be_written_down():
    """Whether it helps or not: the command with the change is read as the launch with the change."""
    command = (
        "python main.py --model-name Qwen3.5-35B-A3B-exl3-4.0bpw_h6 --max-seq-len 65536 --cache-size 262144 "
        "--max-batch-size 16 --draft-model-name Qwen3.5-0.8B-exl3-4.0bpw --vision true"
    )
    reading, catalog = parse_command(command), default_catalog()
    before = launched(reading, {"gpu": "4090"}, catalog)
    changes = list(changes_of(before.setup, catalog))
    words = " · ".join(change.text for change in changes)
    for part in (
        "KV cache q8_0", "KV cache q6", "KV cache q4_0", "a cache of 64Ki tokens", "one sequence at a time",
        "1024 tokens per step", "512 tokens per step", "vision tower", "no draft model", "experts of",
        "context ", "weights in EXL3-",
    ):  # fmt: skip
        assert part in words, part
    for change in changes:
        text = rewritten(reading, before.setup, change.setup, before.quant_text, catalog)
        after = launched(parse_command(text), {"gpu": "4090"}, catalog).setup.launch
        assert after == change.setup.launch, change.text
        assert text != command


@pytest.mark.parametrize(
    ("command", "beside", "offered"),
    [
        (
            "lms load qwen3.5-35b-a3b@q4_k_m -c 262144 --gpu 0.95 --identifier mine --parallel 3",
            {"gpu": "4090"},
            ("one slot", "layers on the GPU", "context ", "weights in "),
        ),
        (
            "mlx_lm.server --model mlx-community/Qwen3.5-27B-8bit --draft-model a/Qwen3.5-0.8B-4bit --port 1",
            {"gpu": "m4 pro", "ctx": 65536},
            (
                "KV cache q8_0", "KV cache q4_0", "1024 tokens per step", "512 tokens per step",
                "no draft model", "weights in MLX-",
            ),
        ),
    ],
)  # fmt: skip
def test_every_change_of_a_launch_without_many_flags_can_be_written_down(command, beside, offered):
    """Whether it helps or not: the command with the change is read as the launch with the change."""
    reading, catalog = parse_command(command), default_catalog()
    before = launched(reading, beside, catalog)
    changes = list(changes_of(before.setup, catalog))
    for part in offered:
        assert any(part in change.text for change in changes), part
    for change in changes:
        text = rewritten(reading, before.setup, change.setup, before.quant_text, catalog)
        after = launched(parse_command(text), beside, catalog)
        assert after.setup.launch == change.setup.launch, change.text
        assert text != command
        assert after.setup.weights == change.setup.weights, change.text
