"""``mkold host``: how a Linux host ages its guests, and what the lockless path lacks there."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mkold.base.errors import Exit, InputError, UsageError
from mkold.cli.options import add_output_options, check_output, deliver, seconds

if TYPE_CHECKING:
    from mkold.host.costs import Costs
    from mkold.host.files import Files

HELP = (
    "Say how this host's guests are aged today, why, what that costs by what can be seen, and "
    "what is missing for the lockless path."
)
SCHEMA = "mkold.host/1"

_EPILOG = """\
examples:
  mkold host                        this machine
  sudo mkold host                   its guests and generations too
  mkold host --sample 10            rates of the next ten seconds, not since the boot
  mkold host --save machine         keep the files that were read
  mkold host --root machine         a machine whose files were saved
  sudo mkold host --age /machine.slice     age that cgroup once, and time it

Nothing is written without --save, -o or --age.
"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mkold host``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR",
        help="a folder of saved files, DIR/proc/version and so on",
    )  # fmt: skip
    parser.add_argument(
        "--sample", type=seconds, default=0.0, metavar="S",
        help="count for S seconds (default: since the boot)",
    )  # fmt: skip
    parser.add_argument(
        "--save", type=Path, metavar="DIR", help="copy the files that were read to DIR"
    )
    parser.add_argument(
        "--age", metavar="CGROUP",
        help="age the memory of a cgroup once, / for the root (writes to lru_gen)",
    )  # fmt: skip
    add_output_options(parser, json_schema=SCHEMA)


def run(args: argparse.Namespace) -> int:
    """Look, and print the page."""
    from mkold.host.age import age
    from mkold.host.facts import look
    from mkold.host.files import Files
    from mkold.host.paths import aging_path
    from mkold.view.host import host_text

    check_output(args)
    if not args.root.is_dir():
        raise InputError(f"no such folder: {args.root}")
    files = Files(args.root.resolve())
    if args.sample and not files.live:
        raise UsageError("--sample counts on a live host; --root is a saved one")
    facts = look(files)
    path, costs = aging_path(facts), _costs(files, args.sample)
    passes = age(files, args.age) if args.age is not None else []
    body = {
        "schema": SCHEMA,
        "facts": asdict(facts)
        | {"flags": sorted(facts.flags), "config": _config(facts.config)},
        "path": asdict(path),
        "costs": asdict(costs) | {"refault_share": costs.refault_share},
        "unread": files.refused,
        "passes": [asdict(one) for one in passes],
    }
    if args.save is not None:
        _save(files, args.save, force=args.force)
    deliver(args, body, lambda: host_text(facts, path, costs, files.refused, passes))
    return Exit.HOLDS


def _config(config: frozenset[str] | None) -> list[str] | None:
    """The options that bear on aging."""
    if config is None:
        return None
    about = ("CONFIG_KVM", "CONFIG_LRU_GEN", "CONFIG_DAMON", "CONFIG_IDLE_PAGE")
    return sorted(name for name in config if name.startswith(about))


def _costs(files: Files, sample_s: float) -> Costs:
    from mkold.host.costs import between, read_counters

    first = None
    if sample_s:
        first = read_counters(files)
        time.sleep(sample_s)
    return between(first, read_counters(files))


def _save(files: Files, folder: Path, *, force: bool) -> None:
    """Write what was read, by its own paths.

    Raises
    ------
    InputError : the folder is there and not empty, and it is not to be overwritten
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise InputError(f"{folder} is there already; --force overwrites it")
    for path in sorted(files.folders):
        (folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for path, text in files.seen.items():
        at = folder / path.removesuffix(".gz").lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text + "\n")
