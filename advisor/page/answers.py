"""The service's answers, kept for all who look at the page: the same question is worked out once.

Answers are immutable and shared. They are kept until the user's rows, starts, facts or model change
(`service.stamp`), and at most an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from advisor import service
from advisor.config import Check, Prediction, Recommendation
from advisor.scores import Accuracy
from advisor.what_if import Curves
from knowledge.errors import UsageError

_HOST = ("vram_used", "ram", "ram_bandwidth", "headless")
"""Options about the machine, which no launch configuration carries."""


@dataclass(frozen=True, slots=True)
class Found:
    """One configuration, and the options that ask for exactly it."""

    prediction: Prediction
    options: dict[str, Any]


class NothingFitsError(UsageError):
    """No configuration is within the limits; `found` says why each was left out."""

    def __init__(self, found: Recommendation) -> None:
        """Keep what was left out."""
        super().__init__("nothing fits")
        self.found = found


def predict(options: Mapping[str, Any]) -> Prediction:
    """`service.predict`."""
    return _predict(dict(options), service.stamp())


def recommend(options: Mapping[str, Any]) -> Recommendation:
    """`service.recommend`."""
    return _recommend(dict(options), service.stamp())


def curves(options: Mapping[str, Any], part: str) -> Curves:
    """`service.curves`, of one part."""
    return _curves(dict(options), part, service.stamp())


def check(command: str, options: Mapping[str, Any]) -> Check:
    """`service.check`."""
    return _check(command, dict(options), service.stamp())


def accuracy() -> Accuracy:
    """`service.accuracy`."""
    return _accuracy(service.stamp())


def best(options: Mapping[str, Any]) -> Found:
    """The configuration that `options` ask for; without a format, the best one that fits.

    Raises:
        UsageError: as `service.predict`; NothingFitsError where a format was to be chosen and none fits.
    """
    if "quant" in options:
        return Found(predict(options), dict(options))
    ranked = recommend(options)
    if not ranked.recommendations:
        raise NothingFitsError(ranked)
    exact = exactly(ranked.recommendations[0], options)
    return Found(predict(exact), exact)


def exactly(item: Prediction, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that ask for this very configuration on the machine that `options` are about."""
    host = {name: options[name] for name in _HOST if name in options}
    return {**service.options_for(item.config), **host}


@st.cache_resource(max_entries=512, ttl=3600, show_spinner=False)
def _predict(options: dict[str, Any], stamp: str) -> Prediction:
    del stamp  # it makes the cache forget
    return service.predict(**options)


@st.cache_resource(max_entries=128, ttl=3600, show_spinner=False)
def _recommend(options: dict[str, Any], stamp: str) -> Recommendation:
    del stamp
    return service.recommend(**options)


@st.cache_resource(max_entries=256, ttl=3600, show_spinner=False)
def _curves(options: dict[str, Any], part: str, stamp: str) -> Curves:
    del stamp
    return service.curves(only=(part,), **options)


@st.cache_resource(max_entries=128, ttl=3600, show_spinner=False)
def _check(command: str, options: dict[str, Any], stamp: str) -> Check:
    del stamp
    return service.check(command, **options)


@st.cache_resource(max_entries=4, ttl=3600, show_spinner=False)
def _accuracy(stamp: str) -> Accuracy:
    del stamp
    return service.accuracy()
