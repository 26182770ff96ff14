"""`make bench` runs every `bench_*.py` and writes the figures.

Each module measures both of its sides in one run. The figures go to the screen as JSON lines and
into RESULTS.md.
"""

import argparse
import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
STUDY = "## Rollouts on a real Kubernetes"
"""Where the part of RESULTS.md begins that `study_rollouts` writes."""


def main() -> int:
    names = sorted(path.stem for path in RESULTS.parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *names],
        default=[],
        help=f"which ones (default: all): {', '.join(names)}",
    )
    chosen = parser.parse_args().names or names
    figures = []
    for name in chosen:
        print(f"{name} …", file=sys.stderr, flush=True)
        figures += importlib.import_module(f"tests.bench.{name}").measure()
    for figure in figures:
        print(json.dumps(figure))
    if chosen == names:
        RESULTS.write_text(report(figures) + _parts()[1], encoding="utf-8")
    return 0 if all(figure["ratio"] >= (figure["goal"] or 0) for figure in figures) else 1


def report(figures: list[dict[str, object]]) -> str:
    """Return the table that is committed: the ratios of one run on one machine."""
    lines = [
        "# Measured",
        "",
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine()}.",
        "Both sides of a ratio ran in the same run. Each module of `tests/bench/` describes them.",
        "Seconds vary by a third from hour to hour, those of pandas by half. So do the ratios.",
        "",
        "| figure | ratio | goal | the two sides |",
        "|---|---:|---:|---|",
    ]
    for figure in figures:
        sides = ", ".join(
            f"{name.replace('_', ' ')} {value}"
            for name, value in figure.items()
            if name not in ("name", "ratio", "goal")
        )
        lines.append(
            f"| {figure['name']} | {figure['ratio']:.1f} | {figure['goal'] or ''} | {sides} |"
        )
    return "\n".join(lines) + "\n"


def write_study(section: str) -> None:
    """Replace the part of RESULTS.md about rollouts."""
    RESULTS.write_text(_parts()[0].rstrip() + "\n\n" + section, encoding="utf-8")


def _parts() -> tuple[str, str]:
    benches, found, study = RESULTS.read_text(encoding="utf-8").partition(STUDY)
    return benches, f"\n{found}{study}" if found else ""


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{os.cpu_count()} cores, {memory_gib:.0f} GiB"
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{hardware}, {system}"


if __name__ == "__main__":
    sys.exit(main())
