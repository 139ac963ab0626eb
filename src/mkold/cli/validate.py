"""``mkold validate``: the system compared with real Linux KVM, step by step."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mkold.base.errors import Exit, InputError, UsageError
from mkold.cli.options import (
    StatusLine,
    add_output_options,
    check_output,
    deliver,
    positive_int,
    seed,
)

if TYPE_CHECKING:
    from mkold.validate.rig.hosts import Host
    from mkold.validate.script import Script
    from mkold.validate.session import HostResult

HELP = """\
Compare mkold's system with real Linux KVM, step by step and page by page.

QEMU emulates a whole machine, on which a stock Debian kernel runs a real guest. The same steps
are done there and on mkold's system: the guest and its host touch pages, the host ages them.
After each step, what is young, present, ... must be the same."""

_EPILOG = """\
examples:
  mkold validate --setup RIG               download and build what x86 needs, into RIG
  mkold validate --rig RIG                 200 steps on it, compared
  mkold validate --rig RIG --host all --steps 700 --seed 3
  mkold validate --rig RIG x.script        those steps, on the host that the file names
  mkold validate --recorded x.recording    with the answers in the file; needs no QEMU
  mkold validate --rig RIG --record x.recording

RIG is also taken from MKOLD_RIG. exit codes: 0 nothing differs, 1 something does (its shortest
sequence is printed and saved), 3 bad input, 4 the machine did not do what it was told."""

N_STEPS, N_PAGES, N_PAGES_HUGE = 200, 128, 1300
MOST_STEPS = 100_000


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mkold validate``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "script",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="steps, rather than drawn ones",
    )
    what = parser.add_argument_group("what")
    what.add_argument("--host", metavar="NAME", help="a wrong name lists them; or all (x86)")
    what.add_argument(
        "--kernel", default="", metavar="VERSION", help="as the host has them; or all (6.12)"
    )
    what.add_argument("--steps", type=positive_int, default=N_STEPS, metavar="N",
                      help="how many steps (%(default)s)")  # fmt: skip
    what.add_argument("--pages", type=positive_int, metavar="N",
                      help=f"pages of the guest ({N_PAGES}; huge: {N_PAGES_HUGE})")  # fmt: skip
    what.add_argument("--huge", action="store_true",
                      help="with huge pages, the host's and the guest's")  # fmt: skip
    what.add_argument("--running", action="store_true",
                      help="with a vCPU that runs on, on a processor of its own")  # fmt: skip
    what.add_argument("--seed", type=seed, default=1, help="which sequence (%(default)s)")
    what.add_argument("--way", choices=("locked", "lockless"), default="",
                      help="of mkold's system (both, if the variant has both)")  # fmt: skip
    rig = parser.add_argument_group("rig")
    rig.add_argument("--rig", type=Path, metavar="DIR", help="where it was set up")
    rig.add_argument("--setup", type=Path, metavar="DIR",
                     help="set the host up below DIR, and end")  # fmt: skip
    rig.add_argument("--recorded", action="store_true",
                     help="compare with the answers in FILE; no QEMU")  # fmt: skip
    rig.add_argument("--record", type=Path, metavar="FILE",
                     help="write steps and the kernel's answers to FILE")  # fmt: skip
    rig.add_argument("--lie", action="store_true",
                     help="let the module lie about one page, to see it caught")  # fmt: skip
    add_output_options(parser, json_schema="mkold.validate/1")


def run(args: argparse.Namespace) -> int:
    """Set up, or compare; 1 if something differs."""
    check_output(args)
    if args.setup:
        return _set_up(args)
    status = StatusLine()
    try:
        results = [_validated(args, *job, status) for job in _jobs(args)]
    finally:
        status.clear()
    if args.record:
        _write_recordings(args, results)
    saved = _saved(results)
    from mkold.validate.report import validate_json, validate_text

    deliver(args, validate_json(results, saved), lambda: validate_text(results, saved))
    return Exit.COUNTEREXAMPLE if any(result.differs for result in results) else Exit.HOLDS


def _hosts(args: argparse.Namespace) -> list[Host]:
    from mkold.validate.rig.hosts import HOSTS, host

    if args.host == "all":
        return list(HOSTS.values())
    return [host(args.host or next(iter(HOSTS)))]


def _hosts_and_kernels(args: argparse.Namespace) -> list[tuple[Host, str]]:
    pairs = []
    for host in _hosts(args):
        usual = args.kernel or next(iter(host.kernels))
        for kernel in host.kernels if args.kernel == "all" else (usual,):
            host.kernel(kernel)
            pairs.append((host, kernel))
    return pairs


def _set_up(args: argparse.Namespace) -> int:
    import sys

    from mkold.validate.rig.setup import set_up

    for host, kernel in _hosts_and_kernels(args):
        rig = set_up(args.setup, host, kernel, lambda text: print(text, file=sys.stderr))
        print(f"{host.name} is set up with Linux {rig.release}: mkold validate --rig "
              f"{args.setup} --host {host.name} --kernel {kernel}")  # fmt: skip
    return Exit.HOLDS


def _jobs(args: argparse.Namespace) -> list[tuple[Host, Script]]:
    """What to do: a host and steps, each."""
    from mkold.validate.draw import draw, draw_vm
    from mkold.validate.rig.hosts import HOSTS, host
    from mkold.validate.script import Script, read_script
    from mkold.validate.vm import MOST_PAGES, refused

    if args.script:
        script = read_script(args.script)
        return [(host(args.host or script.host), script)]
    if args.recorded:
        raise UsageError("--recorded compares with a file's answers: name the FILE")
    n_pages = args.pages or (N_PAGES_HUGE if args.huge else N_PAGES)
    if args.steps > MOST_STEPS or n_pages > MOST_PAGES:
        raise UsageError(f"{MOST_STEPS} steps and {MOST_PAGES} pages are the most")
    jobs = []
    for row, kernel in _hosts_and_kernels(args):
        damon = row.kernel(kernel).damon
        if args.huge and not row.huge:
            names = ", ".join(other.name for other in HOSTS.values() if other.huge)
            raise UsageError(f"host {row.name} is not compared with huge pages; {names} are")
        # On POWER a large leaf that reaches past its memslot may stop the kernel.
        holes = not (args.huge and row.arch == "powerpc")
        log = row.log if not args.huge or kernel in row.huge_log else ""
        vm = draw_vm(
            n_pages, args.seed, row.kind, log, huge=args.huge, damon=damon,
            running=args.running, holes=holes,
        )  # fmt: skip
        if why := refused(vm):
            raise UsageError(f"host {row.name}: {why}")
        steps = tuple(draw(args.steps, vm, args.seed))
        jobs.append((row, Script(row.name, kernel, vm, steps)))
    return jobs


def _validated(
    args: argparse.Namespace, host: Host, script: Script, status: StatusLine
) -> HostResult:
    from mkold.validate.session import on_real, on_recording, rig_of, ways_of

    ways = ways_of(host, script.kernel, args.way)
    if args.recorded:
        return on_recording(host, script, ways, status.show)
    folder = args.rig or os.environ.get("MKOLD_RIG")
    if not folder:
        raise InputError(
            "where is the rig? --rig DIR, or MKOLD_RIG; if there is none: "
            f"mkold validate --host {host.name} --setup DIR"
        )
    rig = rig_of(Path(folder), host, script.kernel)
    return on_real(host, rig, script, ways, status.show, lie=args.lie)


def _write_recordings(args: argparse.Namespace, results: list[HostResult]) -> None:
    from mkold.base.output import write_file
    from mkold.validate.script import script_text

    for result in results:
        name = args.record
        if len(results) > 1:
            own = f"{result.host}-{result.kernel}"
            name = name.with_name(f"{name.stem}-{own}{name.suffix}")
        write_file(name, script_text(result.recording), force=args.force)


def _saved(results: list[HostResult]) -> dict[int, str]:
    """Write the script of each difference beside where the work is done."""
    from mkold.base.output import write_file
    from mkold.validate.script import script_text

    names: dict[int, str] = {}
    for result in results:
        for way in result.ways:
            if way.found:
                name = Path(f"mkold-{result.host}-{result.kernel}-{way.way}.script")
                write_file(name, script_text(way.found.script), force=True)
                names[id(way.found)] = str(name)
    return names
