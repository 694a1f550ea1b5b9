"""The walls: what a command may load, and which words may stand in which room.

import-linter judges imports wherever they stand in a file; these tests judge what a process really loads.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import advisor
import knowledge
from knowledge.paths import app_path

ADVISOR, KNOWLEDGE = (Path(package.__file__).parent for package in (advisor, knowledge))
HEAVY = {
    "altair", "huggingface_hub", "joblib", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn", "streamlit",
    "threadpoolctl",
}  # fmt: skip
# DuckDB 1 looks for values of theirs in whatever is bound to a statement, and imports both to do so.
LOADED_BY_DUCKDB = {"pandas", "pyarrow"} if duckdb.__version__.startswith("1.") else set()
NOT_FOR_HELP = HEAVY | {"duckdb", "numpy", "pydantic", "rich"}

RUN = """
import json, sys
from advisor.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("walls")


def loaded(home, *arguments, code=0):
    """Top-level names of the modules that one command line loads."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        # the checkout may not be installed: the process finds what this one imported
        env=os.environ | {"PYTHONPATH": str(ADVISOR.parent), "ADVISOR_HOME": str(home / "data")},
    )
    ended, modules = json.loads(done.stderr.splitlines()[-1])
    assert ended == code, done.stderr
    return set(modules)


def test_help_loads_almost_nothing(home):
    assert loaded(home, "--help") & NOT_FOR_HELP == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "--gpu", "4090", "--ctx", "200k"),
        ("recommend", "--model", "qwen3.5-35b-a3b", "--gpu", "3090", "--ctx", "262144", "--json"),
        ("predict", "--model", "qwen3.5-9b", "--quant", "Q4_K_M", "--gpu", "3060", "--ctx", "64k"),
        ("predict", "--model", "qwen3.5-9b", "--quant", "FP8", "--gpu", "4090", "--engine", "vllm", "--json"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_an_answer_loads_no_training_no_page_and_no_hub(home, arguments):
    modules = loaded(home, *arguments)
    assert modules & HEAVY - LOADED_BY_DUCKDB == set()
    assert {"duckdb", "numpy"} <= modules  # it did answer, with evidence


def test_files_on_this_machine_are_read_without_the_hub(home):
    (home / "config.json").write_text("{}")
    (home / "x.gguf").write_bytes(b"GGUF")
    for path in (home / "x.gguf", home):
        assert not loaded(home, "predict", "--model", str(path), "--gpu", "4090", code=2) & HEAVY


def test_a_check_needs_no_store_either(home):
    command = "llama-server -m Qwen3.5-35B-A3B-UD-Q4_K_XL.gguf -c 262144 -ngl 99"
    modules = loaded(home, "check", command, "--gpu", "3090")
    assert not modules & (HEAVY | {"duckdb"})
    assert "numpy" in modules


def test_the_package_fetches_its_functions_on_first_use(home):
    code = "import sys, advisor; print([m for m in sys.modules if m.startswith(('advisor.', 'knowledge'))])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ADVISOR.parent)},
    )
    assert done.stdout.strip() == "[]"


def modules_of(package):
    return sorted(package.rglob("*.py"))


def imports_of(path):
    """Full names of what a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def texts_of(path):
    """String constants of a file but for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    loose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose
    ]


@pytest.mark.parametrize(
    "path",
    [app_path(), *modules_of(ADVISOR / "cli"), *modules_of(ADVISOR / "page")],
    ids=lambda path: path.name,
)
def test_a_front_end_knows_the_service_the_answers_and_how_they_are_printed(path):
    allowed = (
        *(
            f"advisor.{room}"
            for room in (
                "service",
                "config",
                "listings",
                "previews",
                "scores",
                "what_if",
                "render",
                "tables",
                "checked",
                "words",
                "cli",
                "page",
            )
        ),
        "advisor.learning.installed",  # `--version` is not worth loading the service
        "knowledge.errors.",
        "knowledge.units.",
    )
    ours = {name for name in imports_of(path) if name.startswith(("advisor", "knowledge"))}
    assert {name for name in ours if not name.startswith(allowed)} == set()


SQL = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|create\s+(or\s+replace\s+)?(table|view)|delete\s+from)\b",
    re.IGNORECASE | re.DOTALL,
)


def test_sql_stands_only_in_the_store():
    elsewhere = [
        path for path in (*modules_of(ADVISOR), *modules_of(KNOWLEDGE)) if path.parent.name != "store"
    ]
    assert {path.name: text for path in elsewhere for text in texts_of(path) if SQL.search(text)} == {}
    store = [text for path in modules_of(KNOWLEDGE / "store") for text in texts_of(path)]
    assert any(SQL.search(text) for text in store)  # the pattern does find SQL


SPELLINGS = re.compile(
    r"llama-server|vllm serve|sglang\.launch|--ctx-size|--n-gpu-layers|--cache-type|-ctk\b|-ngl\b|-fa\b"
    r"|--max-model-len|--tensor-parallel-size|--kv-cache-dtype|--enforce-eager|--no-kv-unified"
)


def test_engine_flags_are_spelt_only_in_engines():
    # our own options may be spelt like an engine's
    elsewhere = [
        path
        for path in modules_of(ADVISOR)
        if not {"engines", "cli", "page"} & set(path.relative_to(ADVISOR).parts)
    ]
    assert {path.name: text for path in elsewhere for text in texts_of(path) if SPELLINGS.search(text)} == {}
    engines = [text for path in modules_of(ADVISOR / "engines") for text in texts_of(path)]
    assert any(SPELLINGS.search(text) for text in engines)


@pytest.mark.parametrize(
    "path", [*modules_of(ADVISOR), *modules_of(KNOWLEDGE)], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_module_says_what_it_owns(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_only_the_command_line_and_its_printers_print():
    quiet = [path for path in modules_of(ADVISOR) if path.parent.name != "cli"]
    for path in (*quiet, *modules_of(KNOWLEDGE)):
        calls = (
            node.func
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        )
        assert not any(isinstance(func, ast.Name) and func.id == "print" for func in calls), path
