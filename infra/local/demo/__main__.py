"""The demo's command line: starts the story, keeps it up for a look, ends everything."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import traceback
from datetime import date
from pathlib import Path

from infra.local.demo.story import Story
from infra.local.demo.summary import Summary
from infra.local.processes import adopt_orphans, ignore_ending_signals, interrupt_on_ending_signals
from infra.local.stack.laptop import Laptop
from infra.local.stack.terminal import say


def main(arguments: list[str] | None = None) -> int:
    """Tell the story; return 0 when all of it came true."""
    options = _options(arguments)
    adopt_orphans()
    interrupt_on_ending_signals()
    folder: Path = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    summary, laptop = Summary(), _laptop(options.cluster, folder)
    story = Story(laptop, summary, options.first_week, options.weeks)
    try:
        story.tell()
        say("\nThe loop has turned. Everything is still up:")
        story.say_addresses()
        summary.write(folder / "summary.json")
        if not options.exit:
            say("\nCtrl-C ends it.")
            signal.pause()
    except KeyboardInterrupt:
        say("\nending")
        return 0 if (folder / "summary.json").exists() else 130
    except Exception:  # noqa: BLE001 - the last line: say it, end everything, exit 1
        traceback.print_exc()
        say(f"\nThe demo failed; logs lie in {folder}")
        summary.write(folder / "summary.json")
        return 1
    finally:
        ignore_ending_signals()
        laptop.stop()
    return 0


def _laptop(cluster: str, folder: Path) -> Laptop:
    if cluster == "process":
        return Laptop(folder)
    from infra.local.demo.kubernetes import KubernetesLaptop  # noqa: PLC0415 - the default demo needs nothing of it

    return KubernetesLaptop(folder)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__)
    parser.add_argument(
        "--exit",
        action="store_true",
        help="end when the story is told, instead of staying up until Ctrl-C",
    )
    parser.add_argument(
        "--first-week",
        type=date.fromisoformat,
        default=date(2013, 5, 27),
        help="window end of the first run (default: %(default)s)",
    )
    parser.add_argument(
        "--weeks",
        type=int,
        default=7,
        help="weekly runs, the first one included (default: %(default)s)",
    )
    parser.add_argument(
        "--cluster",
        choices=("process", "kubernetes"),
        default="process",
        help="where model servers run (default: %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".demo"),
        help="all state; emptied at the start (default: %(default)s)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
