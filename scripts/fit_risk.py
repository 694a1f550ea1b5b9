"""Fit `advisor/risk_constants.json` on the shipped cases and print how well it does on sources left out."""

from advisor.training.memory_cases import read_cases
from advisor.training.risk import left_out_probabilities, reliability, write_constants
from knowledge.catalog import default_catalog
from knowledge.paths import memory_dir, observations_dir


def main() -> None:
    files = sorted([*memory_dir().glob("*.csv"), *observations_dir().glob("*.csv")])
    cases = read_cases(files, default_catalog())
    content = write_constants(cases, (path.name for path in files))
    for family, spread in content["spreads"].items():
        print(family, spread)
    for name, figures in content["leave_source_out"].items():
        print(name, figures)
    print(content["fitted_on"])
    outcomes = [case.oom for case in cases.cases]
    for index, count, mean, rate in reliability(left_out_probabilities(cases.cases), outcomes):
        print(
            f"{index / 10:.1f}-{(index + 1) / 10:.1f}  n={count:3}  predicted {mean:.2f}  ran out {rate:.2f}"
        )


if __name__ == "__main__":
    main()
