"""Which rules of `knowledge/facts/rules.csv` apply to a configuration, and what they forbid, say or set.

It owns the conditions' small language and the facts they may name; the rules themselves are data, and it
knows no flag: what a rule sets is a text that the engines put on their command lines.

A condition is terms joined by `&`: `hybrid`, `!hybrid`, `sm>=80`, `spec_decode=mtp|eagle`, `ctx!=unset`.
A term over something that no configuration states (a driver's version, a connector) is unknown, and a rule
with an unknown term never fires.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from advisor.config import Caution, Setup
from advisor.engines.traits import NOT_STATED, Fact, setup_facts
from advisor.engines.versions import newest, parse, resolve
from knowledge.catalog import Catalog, default_catalog
from knowledge.errors import AdvisorError, UnsupportedError
from knowledge.schema import Rule

_TERM = re.compile(r"^(!?)([a-z_][a-z0-9_]*)(?:(<=|>=|!=|=|<|>)([^<>=!].*))?$")
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison of a fact: `values` are alternatives, empty for a bare fact.

    A fact that is a set holds when it has one of the values.
    """

    fact: str
    sign: str
    values: tuple[str, ...]

    def holds(self, facts: Mapping[str, Fact]) -> bool | None:
        """Whether it is so; None where nothing states the fact.

        Raises:
            AdvisorError: no such fact exists (a misspelt rule).
        """
        if self.fact in NOT_STATED:
            return None
        if self.fact not in facts:
            raise AdvisorError(f"rules.csv names an unknown fact {self.fact!r}", "mend the rule")
        value = facts[self.fact]
        if isinstance(value, frozenset):
            return not value.isdisjoint(self.values)
        if self.sign in _ORDER:
            return isinstance(value, int | float) and _ORDER[self.sign](value, float(self.values[0]))
        if self.sign in ("", "!"):
            return None if value is None else bool(value) == (self.sign == "")
        spelled = "unset" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
        return (spelled in self.values) == (self.sign == "=")


@lru_cache(maxsize=1024)
def parse_condition(text: str) -> tuple[Term, ...]:
    """The terms of a condition, all of which must hold; none for an empty text.

    Raises:
        AdvisorError: the text is not in the language.
    """
    terms = []
    for part in filter(None, text.split("&")):
        match = _TERM.match(part.strip())
        if match is None or (match[1] and match[3]):
            raise AdvisorError(f"rules.csv has a condition {part!r} that cannot be read", "mend the rule")
        values = tuple(match[4].split("|")) if match[4] else ()
        if (match[3] in _ORDER) and len(values) != 1:
            raise AdvisorError(f"rules.csv compares {part!r} with several numbers", "mend the rule")
        terms.append(Term(match[2], match[3] or match[1], values))
    return tuple(terms)


def _conditions(rule: Rule) -> tuple[Term, ...]:
    labels = (Term("quant_labels", "has", tuple(rule.quant_family.split("|"))),) if rule.quant_family else ()
    parts = (rule.model_trait, rule.gpu_trait, rule.config)
    return labels + tuple(term for part in parts for term in parse_condition(part))


def _is_current(rule: Rule, engine: str, version_text: str | None, catalog: Catalog) -> bool:
    """Whether the rule speaks of this engine in this version (the newest, where none is named)."""
    if rule.engine and rule.engine != engine:
        return False
    if not (rule.since_version or rule.before_version):
        return True
    version = resolve(engine, version_text, catalog)
    if version is None:  # no calendar: how old the engine is cannot be told
        return False
    since = parse(rule.engine, rule.since_version, catalog) if rule.since_version else None
    before = parse(rule.engine, rule.before_version, catalog) if rule.before_version else None
    return version.is_in(since, before)


Conditioned = tuple[Rule, tuple[Term, ...]]


def rules_for(
    rules: Sequence[Rule], engine: str, version_text: str | None, catalog: Catalog
) -> tuple[Conditioned, ...]:
    """The rules of an engine's version with their conditions read."""
    return tuple(
        (rule, _conditions(rule)) for rule in rules if _is_current(rule, engine, version_text, catalog)
    )


@lru_cache(maxsize=64)
def _shipped_rules(engine: str, version_text: str | None, catalog: Catalog) -> tuple[Conditioned, ...]:
    return rules_for(catalog.rules, engine, version_text, catalog)


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What the rules say about one configuration."""

    forbidden: tuple[Caution, ...]
    warnings: tuple[Caution, ...]
    sets: tuple[str, ...]
    """Flags with their values that `set` and `require` rules add, in the rules' order."""
    fired: tuple[str, ...]
    """Ids of every rule that fired."""


def apply(setup: Setup, rules: Sequence[Rule] | None = None, catalog: Catalog | None = None) -> RuleOutcome:
    """Hold every rule (the catalog's, unless others are given) against the configuration.

    `forbid` goes to `forbidden`; `warn`, and what a `set` or `require` rule asks without naming a flag, to
    `warnings`; the flags of the others to `sets`. A version newer than the facts is a warning too.
    """
    known = catalog or default_catalog()
    engine, version_text = setup.launch.engine, setup.launch.engine_version
    if rules is None:
        current = _shipped_rules(engine, version_text, known)
    else:
        current = rules_for(rules, engine, version_text, known)
    facts = setup_facts(setup)
    forbidden: list[Caution] = []
    warnings: list[Caution] = []
    sets: list[str] = []
    fired: list[str] = []
    for rule, terms in current:
        if not all(term.holds(facts) is True for term in terms):
            continue
        fired.append(rule.id)
        if rule.sets:
            sets.append(_filled(rule, facts))
        else:
            caution = Caution(rule=rule.id, text=rule.text, evidence_url=rule.evidence_url)
            (forbidden if rule.kind == "forbid" else warnings).append(caution)
    warnings.extend(_beyond_the_facts(setup, known))
    return RuleOutcome(tuple(forbidden), tuple(warnings), tuple(sets), tuple(fired))


def forbidden_by(setup: Setup, catalog: Catalog | None = None) -> str:
    """The first rule that forbids the configuration, with its reason; empty where none does."""
    for caution in apply(setup, catalog=catalog).forbidden:
        return f"{caution.rule}: {caution.text}"
    return ""


def ruled_out(setup: Setup, catalog: Catalog | None = None) -> str:
    """As `forbidden_by`, and what cannot be asked for its engine at all; empty where it can be launched."""
    try:
        return forbidden_by(setup, catalog)
    except UnsupportedError as error:
        return str(error)


def _filled(rule: Rule, facts: Mapping[str, Fact]) -> str:
    try:
        return rule.sets.format_map(facts)
    except KeyError as error:
        raise AdvisorError(f"rule {rule.id} sets an unknown field {error}", "mend rules.csv") from error


def _beyond_the_facts(setup: Setup, catalog: Catalog) -> list[Caution]:
    engine, text = setup.launch.engine, setup.launch.engine_version
    last = newest(engine, catalog)
    if text is None or last is None or parse(engine, text, catalog).key <= last.key:
        return []
    said = f"{engine} {text} is newer than what is known here ({last.text}): its flags may have changed"
    return [Caution(rule="newer-version", text=said, evidence_url=None)]
