"""What is shipped and what is said of it: files in place, documents true, commands as they are written."""

import itertools
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

import advisor
import knowledge
from advisor.cli import app
from knowledge.paths import FACTS, app_path, memory_dir, observations_dir

ROOT = Path(__file__).parents[1]
FIRST = "pip install . && advisor recommend --gpu 4090 --ctx 200k"
SECOND = "pip install '.[test]' && pytest"
PACKAGES = {package.__name__: Path(package.__file__).parent for package in (advisor, knowledge)}
COMMANDS = sorted(typer.main.get_command(app).commands)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def settings():
    return tomllib.loads(read("pyproject.toml"))


def test_what_an_answer_needs_is_installed_beside_the_code():
    assert app_path().is_file()
    assert list(observations_dir().glob("*.csv"))
    assert list(memory_dir().glob("*.csv"))
    assert list(FACTS.glob("*.csv"))
    for package, name in (
        ("advisor", "py.typed"),
        ("knowledge", "py.typed"),
        ("knowledge", "store/schema.sql"),
    ):
        assert (PACKAGES[package] / name).is_file()


def test_everything_that_is_forced_into_the_wheel_exists(settings):
    for source in settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        assert (ROOT / source).exists()


def test_every_observation_file_is_described_in_sources():
    described = set(re.findall(r"^### `(.+?)`", read("data/SOURCES.md"), re.MULTILINE))
    files = {
        f"{folder.name}/{path.name}"
        for folder in (observations_dir(), memory_dir())
        for path in folder.glob("*.csv")
    }
    assert described == files


def test_the_readme_has_the_two_commands_and_ci_runs_them_as_they_stand_there():
    lines = [line for line in read("README.md").splitlines() if line.startswith("pip install")]
    assert lines == [FIRST, SECOND]
    script = read(".ci/run")
    assert '$(readme_command 1)"' in script
    assert '$(readme_command 2)"' in script


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"`advisor {command}\b", read("README.md"))


def test_the_readme_names_no_command_or_option_that_is_not_there():
    group = typer.main.get_command(app)
    lines = re.findall(r"(?:`|output: |&& )(advisor [a-z][^`\n]*?)(?=`| -->|\n)", read("README.md"))
    assert lines
    for line in lines:
        _, name, *words = shlex.split(line)
        command = group.commands[name]
        spellings = {spelling for option in command.params for spelling in option.opts}
        assert {word for word in words if word.startswith("--")} <= spellings, line


def test_the_readme_shows_a_real_answer():
    shown = re.search(
        r"<!-- output: (.+?) -->\n```text\n\$ (.+?)\n(.*?)```\n<!-- end -->", read("README.md"), re.DOTALL
    )
    assert shown[1] == shown[2] == FIRST.partition("&& ")[2]
    for words in ("OOM", "risk of running out", "Measured runs nearest to it", "https://", "llama-server"):
        assert words in shown[3]


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "docs/architecture.md"])
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", read(document)):
        assert (ROOT / document).parent.joinpath(target).exists(), target


def test_the_architecture_lists_every_module_and_no_other():
    listed = set(re.findall(r"^\| `(\S+\.py)` \|", read("docs/architecture.md"), re.MULTILINE))
    files = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert files - listed == set(), "run: python scripts/readme.py"
    assert listed - files == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_architecture_has_the_floors_that_are_enforced(package, settings):
    layers = next(
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    )
    floor = {room: height for height, layer in enumerate(layers) for room in re.findall(r"\w+", layer)}
    table = read("docs/architecture.md").split(f"| floor | `{package}` |")[1].split("\n\n")[0]
    told = [re.findall(r"`(\w+)`", line) for line in table.splitlines()[2:]]
    assert {room for rooms in told for room in rooms} == floor.keys()
    for upper, lower in itertools.pairwise(told):
        assert max(floor[room] for room in upper) < min(floor[room] for room in lower)


def test_the_changelog_tells_of_this_version(settings):
    assert f"## [{settings['project']['version']}]" in read("CHANGELOG.md")
    assert "### Accuracy" in read("CHANGELOG.md")
