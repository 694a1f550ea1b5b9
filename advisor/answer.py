"""One configuration and its figures as a complete answer: command, why, release notes, warnings.

It owns what is said beside the figures and makes none of them; the measured runs are added by whoever has a
store (`advisor.service`).
"""

from __future__ import annotations

from dataclasses import replace

from advisor.calibration import own_warning, own_words
from advisor.config import Caution, PredictedFigures, Prediction, Setup
from advisor.engines import apply, render
from advisor.engines.other_forms import other_forms
from advisor.engines.reasons import reasons
from advisor.explain import why
from advisor.notes import notes_for
from advisor.quality import points_left
from knowledge.catalog import Catalog
from knowledge.errors import UnsupportedError
from knowledge.units import format_mib

_UNSURE_SHAPES = ("derived", "inferred", "recalled")
"""Bases of a model's shape that no file of its maker stands behind."""
_TIGHT = 0.01
"""Risk from which an unlisted file size is worth a warning: the estimate of the size decides then."""


def answer(setup: Setup, figures: PredictedFigures, catalog: Catalog, label: str | None = None) -> Prediction:
    """The answer for one configuration, without evidence; `label` is what the person calls the model.

    Raises:
        UnsupportedError: a rule forbids it, or its engine cannot express it.
    """
    rules = apply(setup, catalog=catalog)
    if rules.forbidden:
        first = rules.forbidden[0]
        raise UnsupportedError(f"this does not run ({first.rule}): {first.text}", f"see {first.evidence_url}")
    named = _own_files(setup, label)
    command, env = render(named, rules, catalog)
    return Prediction(
        config=setup.launch,
        command=command,
        env=env,
        prediction=figures,
        notes=notes_for(setup, catalog, command=command),
        warnings=[*cautions(setup, figures, label), *rules.warnings],
        why=" ".join(filter(None, (why(setup, figures), own_words(setup)))),
        quality=points_left(setup.model, setup.quant, setup.launch, catalog)
        if setup.model.hf_id in catalog.models
        else None,
        flags=reasons(setup, command, env, rules, catalog),
        other_forms=other_forms(named, command, catalog),
    )


def _own_files(setup: Setup, label: str | None) -> Setup:
    """A fine-tune is launched from its own files, under its own name, not from its base's repository."""
    if label is None or label == setup.model.name:
        return setup
    return replace(setup, model=setup.model.model_copy(update={"hf_id": label}))


def cautions(setup: Setup, figures: PredictedFigures, label: str | None) -> list[Caution]:
    """What limits the answer, beyond the rules."""
    model, memory = setup.model, figures.memory
    lacking = memory.total_mib - memory.available_mib
    ran_out = own_warning(setup, memory)
    texts = (
        (
            "memory",
            not figures.fits,
            f"does not fit: {format_mib(lacking)} are missing, {figures.oom_probability:.0%} risk"
            if lacking > 0
            else f"is likely to run out of memory: {figures.oom_probability:.0%}",
        ),
        ("own-start", bool(ran_out), ran_out),
        (
            "base-model",
            label is not None and label != model.name,
            f"{label} has the shape of {model.name}, whose runs stand in for its own"
            if setup.weights.basis == "read"
            else f"{label} is taken to have the shape of {model.name}; name its own files in the command",
        ),
        (
            "support",
            figures.basis == "physics",
            f"no run of {model.name} or on {setup.gpu.name} stands behind these figures: physics alone",
        ),
        (
            "shape",
            model.basis.startswith(_UNSURE_SHAPES),
            f"the shape of {model.name} is {model.basis.split('+')[0]}, not read from its own files",
        ),
        (
            "file-size",
            setup.weights.basis == "computed" and figures.oom_probability >= _TIGHT,
            f"{setup.weights.total_gib:.1f} GiB of weights is computed: give the file's with --weights-gib",
        ),
    )
    return [Caution(rule=rule, text=text, evidence_url=None) for rule, holds, text in texts if holds]
