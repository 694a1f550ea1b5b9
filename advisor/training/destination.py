"""Where a trained model and its card are written, and that all are there whole or not at all.

It knows checkouts, data folders and disks, and nothing of what is in the files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from advisor.speed.model import ARTEFACT, OWN_MODEL, SpeedModel, own_model
from advisor.training.export import write_artefact
from knowledge.errors import StoreError, UsageError
from knowledge.paths import bundle_root, home_dir

CARD = "model_card.md"


@dataclass(frozen=True, slots=True)
class Destination:
    """The two files; `loaded`: whether predictions look for the model there; `asked`: named by the user."""

    artefact: Path
    card: Path
    loaded: bool
    asked: bool

    def prepare(self) -> None:
        """Find out that the files can be written, before a minute is spent on what goes in.

        Raises:
            UsageError: a folder that was asked for and cannot be written.
            StoreError: the data folder or the checkout cannot be.
        """
        for folder in {self.artefact.parent, self.card.parent}:
            with self._refusals(folder):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass

    def write(self, model: SpeedModel, card: str, beside: Mapping[str, str]) -> list[Path]:
        """Write all beside their places and swap them in; `beside`: what goes with the card, name → text.

        Answers with the files.

        Raises:
            UsageError: as `prepare`.
            StoreError: as `prepare`.
        """
        with self._refusals(self.artefact.parent):
            texts = {self.card: card, **{self.card.with_name(name): text for name, text in beside.items()}}
            scratch = {path: path.with_name(f"{path.name}.{os.getpid()}.tmp") for path in texts}
            try:
                for path, text in texts.items():
                    scratch[path].write_text(text, encoding="utf-8", newline="\n")
                write_artefact(self.artefact, model.to_arrays())
                for path in texts:
                    scratch[path].replace(path)
            finally:
                for path in scratch.values():
                    path.unlink(missing_ok=True)
        return [self.artefact, *texts]

    @contextmanager
    def _refusals(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = f"{folder} cannot be written ({error.strerror})"
            if self.asked:
                raise UsageError(said, "name another folder: advisor train --output FOLDER") from error
            raise StoreError(said, "write elsewhere: advisor train --output FOLDER") from error


def destination(output: Path | str | None, own_rows: int) -> Destination:
    """The folder `output`; else the checkout, if only shipped rows are learnt from; else the data folder.

    A model in the data folder is preferred by predictions, so once there is one, it is the one renewed.

    Raises:
        UsageError: an empty `output`.
        StoreError: no data folder is known.
    """
    if output is not None:
        folder = Path(output)
        if not str(output):
            raise UsageError("--output names no folder", "write for example: advisor train --output model")
        return Destination(folder / ARTEFACT.name, folder / CARD, loaded=False, asked=True)
    documents = bundle_root() / "docs"
    checkout = documents.is_dir() and ARTEFACT.is_relative_to(bundle_root())
    if checkout and not own_rows and own_model() is None:
        return Destination(ARTEFACT, documents / CARD, loaded=True, asked=False)
    return Destination(home_dir() / OWN_MODEL, home_dir() / CARD, loaded=True, asked=False)
