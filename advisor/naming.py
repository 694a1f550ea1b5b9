"""Which model and which format the options name: of the catalog, on this machine, or on the Hub.

It owns the order in which a text is tried as each of them. It reads no other option, and no files itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from knowledge.catalog import Catalog
from knowledge.errors import UnknownNameError, UsageError
from knowledge.names.model import ModelMatch, resolve_model
from knowledge.names.place import existing_path, is_drawn_as_path, repo_and_quant
from knowledge.names.quant import quant_key, resolve_quant
from knowledge.schema import Quant

if TYPE_CHECKING:
    from knowledge.real_model import RealModel


def _text(given: Mapping[str, Any], option: str) -> str:
    text = str(given[option]).strip()
    if not text:
        raise UsageError(f"--{option} is empty")
    return text


def model_asked(given: Mapping[str, Any], catalog: Catalog) -> tuple[ModelMatch | None, RealModel | None]:
    """The model asked for, and its files where they are what was named.

    A path that is there is read; a name of the catalog asks nobody; only then is a repository looked for.

    Raises:
        UsageError: no such name, path or repository, or files that cannot be understood.
        HubError: the network or the Hub.
    """
    if "model" not in given:
        return None, None
    text = _text(given, "model")
    quant = _text(given, "quant") if "quant" in given else ""
    path = existing_path(text)
    if path is not None:
        from knowledge.hub import read_path  # noqa: PLC0415 - the readers load for who needs them

        files, behind = _in_asked_format(read_path(path, catalog, quant), quant, catalog), ""
    else:
        try:
            return resolve_model(text, catalog), None
        except UnknownNameError as error:
            repo, behind = _repo_behind(text, error)
        files = _of_repo(repo, behind, quant, catalog)
    chosen = behind if files.is_original else ""
    return ModelMatch(files.model, files.label(catalog), chosen or None), files


def _repo_behind(text: str, error: UnknownNameError) -> tuple[str, str]:
    """The repository and quantization that an unknown name may be.

    Raises:
        UsageError: it cannot be one; said in the words for what it looks like.
    """
    if is_drawn_as_path(text) or text.lower().endswith(".gguf"):
        raise UsageError(f"there is no {text[:200]!r}", "name a file, or a model: advisor models") from error
    found = repo_and_quant(text)
    if found is None:
        raise error
    return found


def _of_repo(repo: str, behind: str, quant: str, catalog: Catalog) -> RealModel:
    """The model of a repository; what stands behind its name chooses among GGUF files, as an option does."""
    if behind and quant and quant_key(behind) != quant_key(quant):
        raise UsageError(f"--model says {behind} and --quant says {quant}", "leave one of the two out")
    from knowledge.hub import read_repo  # noqa: PLC0415 - as above

    files = read_repo(repo, behind or quant, catalog)
    chosen = files.kind == "gguf" and files.quant is not None
    return files if chosen else _in_asked_format(files, behind or quant, catalog)


def _in_asked_format(files: RealModel, quant: str, catalog: Catalog) -> RealModel:
    """The files, whose format an option may say where they do not.

    Raises:
        UsageError: no format is said, or another one than quantized files have.
    """
    if not quant:
        if files.quant is None:
            raise UsageError(f"the files of {files.model.name} do not say their format", "add --quant")
        return files
    said = resolve_quant(quant, catalog)
    if files.quant is None:
        return replace(files, quant=said)
    if quant_key(said.name) == quant_key(files.quant.name) or files.is_original:
        return files
    raise UsageError(f"--quant says {said.name} and the files are {files.quant.name}", "leave it out")


def quant_asked(
    given: Mapping[str, Any], match: ModelMatch | None, files: RealModel | None, catalog: Catalog
) -> Quant | None:
    """The format of quantized files, or the one asked for by its option or behind the model's name.

    Unquantized files leave it open: any format can be made from them.

    Raises:
        UsageError: an unknown format, two that contradict each other, or a size that the files have.
    """
    sized = UsageError("--weights-gib is read from the files", "leave it out")
    if files is None:
        return _of_name(given, match, catalog)
    if not files.is_original:
        if "weights_gib" in given:
            raise sized
        return files.quant
    asked = _of_name(given, match, catalog)
    if "weights_gib" in given and asked in (None, files.quant):
        raise sized
    return asked


def _of_name(given: Mapping[str, Any], match: ModelMatch | None, catalog: Catalog) -> Quant | None:
    """The format asked for, by its option or behind the model's name."""
    behind = resolve_quant(match.quant_text, catalog) if match and match.quant_text else None
    if "quant" not in given:
        return behind
    quant = resolve_quant(_text(given, "quant"), catalog)
    if behind is not None and quant_key(behind.name) != quant_key(quant.name):
        raise UsageError(
            f"--model says {behind.name} and --quant says {quant.name}", "leave one of the two out"
        )
    return quant
