"""Mutated litmus tests, traces and recordings, read by the verbs in this process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hostile import ran
from hostile.mutate import mutated

LITMUS_AT_ONCE = 250
DECIDE_S = "0.5"
LITTLE = "2G"
_ROOT = Path(__file__).parents[2]

Say = Callable[[str], None]


def litmus(n: int, seed: int, folder: Path, say: Say) -> Counter[str]:
    """Tests by the folder: a bad one takes only itself, so one run tells of many."""
    seeds = [file.read_bytes() for file in sorted(_ROOT.glob("tests/litmus/vectors/*.litmus"))]
    rng = random.Random(f"litmus {seed}")
    counts: Counter[str] = Counter()
    for start in range(0, n, LITMUS_AT_ONCE):
        at_once = min(LITMUS_AT_ONCE, n - start)
        files = []
        for i in range(at_once):
            file = folder / f"{start + i}.litmus"
            file.write_bytes(mutated(rng.choice(seeds), rng, "litmus", rng.choice(seeds)))
            files.append(file)
        done = ran.here("litmus", str(folder), "--timeout", DECIDE_S, "--jobs", "1",
                        "--memory-limit", LITTLE)  # fmt: skip
        counts["ran"] += at_once
        counts["answered"] += sum(
            line.startswith("Observation") for line in done.out.split("\n")
        )
        for line in _blame(done, files):
            counts["wrong"] += 1
            say(f"litmus: {line}")
        for file in files:
            file.unlink()
    return counts


def _blame(done: ran.Ran, files: list[Path]) -> list[str]:
    """What went wrong with which; the file is kept."""
    wrong = done.wrong()
    if not wrong:
        return []
    lines = [line for line in done.err.splitlines() if any(n in line for n in ran.NEVER)]
    kept = []
    for file in files:
        if any(str(file) in line for line in lines):
            kept.append(str(file.rename(file.with_suffix(".kept"))))
            file.touch()
    return [*lines, f"kept: {', '.join(kept)}"] if lines else [wrong]


def texts(n: int, seed: int, folder: Path, say: Say) -> Counter[str]:
    """Recordings in lackey's form, imported."""
    rng = random.Random(f"texts {seed}")
    plain = b"".join(
        b"%s %08x,%d\n" % (rng.choice((b" L", b" S", b" M", b"I ")), rng.randrange(1 << 36),
                           rng.choice((1, 2, 4, 8, 32)))
        for _ in range(60)
    )  # fmt: skip
    other = b"==7== Lackey, an example\n" + plain[:400] + b"==7== Exit code: 0\n"
    source, target = folder / "recording.txt", folder / "out.parquet"
    counts: Counter[str] = Counter()
    for _ in range(n):
        source.write_bytes(mutated(rng.choice((plain, other)), rng, "lackey", plain))
        done = ran.here("record", "--import", str(source), "-o", str(target), "--force")
        _count(done, source, counts, say)
    return counts


def traces(n: int, seed: int, folder: Path, say: Say) -> Counter[str]:
    """Parquet files, read as ``run`` reads them."""
    from mkold.base.errors import MkoldError
    from mkold.trace.parquet import read_trace

    rng = random.Random(f"traces {seed}")
    recording, seed_file = folder / "recording.txt", folder / "seed.parquet"
    recording.write_text("".join(f" L {page << 12:08x},8\n" for page in range(40)))
    ran.here("record", "--import", str(recording), "-o", str(seed_file), "--force")
    data, trace = seed_file.read_bytes(), folder / "trace.parquet"
    counts: Counter[str] = Counter()
    for _ in range(n):
        trace.write_bytes(_of_parquet(data, rng))
        counts["ran"] += 1
        try:
            read_trace(trace)
            counts["answered"] += 1
        except MkoldError:
            pass
        except BaseException as error:  # a panic is none of Exception
            counts["wrong"] += 1
            say(f"traces: {type(error).__name__}: {error}; kept: {_keep(trace, counts)}")
    return counts


def _of_parquet(data: bytes, rng: random.Random) -> bytes:
    """Half of the changes hit the footer, where the structure is, and keep its length."""
    if rng.random() < 0.5:
        return mutated(data, rng, "parquet", data)
    size = int.from_bytes(data[-8:-4], "little")
    footer = bytearray(data[-8 - size : -8])
    for _ in range(rng.choice((1, 1, 2, 5))):
        footer[rng.randrange(size)] = rng.randrange(256)
    return data[: -8 - size] + bytes(footer) + data[-8:]


def _count(done: ran.Ran, file: Path, counts: Counter[str], say: Say) -> None:
    counts["ran"] += 1
    counts["answered"] += done.code == 0
    if done.wrong():
        counts["wrong"] += 1
        say(f"{file.name}: {done.wrong()}; kept: {_keep(file, counts)}")


def _keep(file: Path, counts: Counter[str]) -> Path:
    kept = file.with_name(f"{counts['wrong']}-{file.name}.kept")
    kept.write_bytes(file.read_bytes())
    return kept
