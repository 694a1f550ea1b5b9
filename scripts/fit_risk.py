"""Fit `advisor/risk_constants.json`, score it on sources left out, and draw its reliability."""

from pathlib import Path

from advisor.training.diagrams import reliability_diagram
from advisor.training.memory_cases import read_cases
from advisor.training.memory_scores import memory_scores
from advisor.training.risk import write_constants
from knowledge.catalog import default_catalog
from knowledge.paths import memory_dir, observations_dir

DIAGRAM = Path(__file__).parent.parent / "docs" / "risk_reliability.svg"


def main() -> None:
    files = sorted([*memory_dir().glob("*.csv"), *observations_dir().glob("*.csv")])
    cases = read_cases(files, default_catalog())
    scores = memory_scores(cases.cases)
    content = write_constants(cases, (path.name for path in files), scores)
    DIAGRAM.write_text(reliability_diagram(scores["reliability"]), encoding="utf-8")
    for name, figures in content.items():
        print(name, figures)


if __name__ == "__main__":
    main()
