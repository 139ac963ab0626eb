"""Orderings that a path alone decides: fences, acquire and release, dependencies.

Every relation here is the one of the same name in linux-kernel.cat, between memory events
of one thread. Initial writes take no part: nothing precedes them, so they are in no cycle.
Fences themselves are left out as ends of ``gp``: such an edge is always part of one
between memory events around it.

Source: tools/memory-model/linux-kernel.cat ("Basic relations", "Fences"),
linux-kernel.bell (rcu-rscs, Marked); Documentation/explanation.txt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mkold.lkmm.graph.guards import Decided
from mkold.lkmm.graph.values import Taint
from mkold.lkmm.paths.paths import Act, Path
from mkold.lkmm.paths.unordered import NONE, one_by_one
from mkold.lkmm.verdict import LOCK_KINDS

Pairs = list[tuple[int, int]]

_SYNC = frozenset({"sync-rcu", "sync-srcu"})
_BARRIERS = frozenset(
    [
        "barrier",
        "rmb",
        "wmb",
        "mb",
        "sync-rcu",
        "sync-srcu",
        "before-atomic",
        "after-atomic",
        "acquire",
        "release",
        "rcu-lock",
        "rcu-unlock",
        "srcu-lock",
        "srcu-unlock",
    ]
)


@dataclass(slots=True)
class Section:
    """What ``rcu-rscs`` or a grace period is made of, by place in its thread."""

    thread: int
    start: int  # index in the thread of the lock, or of the grace period
    end: int  # index of the unlock, or of the grace period
    place: int | None  # srcu_struct, None for RCU
    grace: bool
    lock: int = -1  # event numbers, for pictures
    unlock: int = -1
    end_thread: int = -1

    def __post_init__(self) -> None:
        if self.end_thread < 0:
            self.end_thread = self.thread


@dataclass(slots=True)
class Ordering:
    """Base relations of one path, as pairs of event numbers."""

    threads: dict[int, list[Act]]
    po_rel: Pairs = field(default_factory=list)
    acq_po: Pairs = field(default_factory=list)
    rmb: Pairs = field(default_factory=list)
    rmb_from: Pairs = field(default_factory=list)  # [R4rmb] ; fencerel(Rmb) ; [~Noreturn]
    rmb_to: Pairs = field(default_factory=list)  # [~Noreturn] ; fencerel(Rmb) ; [R4rmb]
    wmb: Pairs = field(default_factory=list)
    mb: Pairs = field(default_factory=list)
    gp: Pairs = field(default_factory=list)
    addr: Pairs = field(default_factory=list)
    data: Pairs = field(default_factory=list)
    ctrl: Pairs = field(default_factory=list)
    unlock_po: Pairs = field(default_factory=list)  # what precedes an unlock
    lock_po: Pairs = field(default_factory=list)  # what follows a lock
    lock_fence: Pairs = field(default_factory=list)  # ... beyond smp_mb__after_unlock_lock
    unlock_lock: Pairs = field(default_factory=list)  # unlock and later lock, one thread
    rmw: Pairs = field(default_factory=list)
    barrier: Pairs = field(default_factory=list)  # only where there are plain writes
    sections: list[Section] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    plain: bool = False
    apart: frozenset[tuple[int, int]] = NONE  # in no program order


_RELATIONS = (
    "po_rel", "acq_po", "rmb", "rmb_from", "rmb_to", "wmb", "mb", "gp", "unlock_po",
    "lock_po", "lock_fence", "unlock_lock", "barrier",
)  # fmt: skip


def is_memory(act: Act) -> bool:
    return act.is_read or act.is_write


def order_path(path: Path) -> Ordering:
    """The base relations of ``path``."""
    threads: dict[int, list[Act]] = {}
    for act in path.acts:
        threads.setdefault(act.thread, []).append(act)
    result = _in_order(path, threads)
    if path.apart:
        result.apart = path.apart
        for thread, acts in threads.items():
            for order in one_by_one(acts, path.apart):
                _keep_common(result, _in_order(path, {**threads, thread: order}))
    return result


def _keep_common(result: Ordering, other: Ordering) -> None:
    """Keep of each relation what two orders of the accesses have in common."""
    for name in _RELATIONS:
        kept = set(getattr(other, name))
        setattr(result, name, [pair for pair in getattr(result, name) if pair in kept])


def _in_order(path: Path, threads: dict[int, list[Act]]) -> Ordering:
    result = Ordering(threads)
    present = {act.id for act in path.acts}
    for acts in threads.values():
        _fences(acts, result)
        _locks(acts, result)
        _sections(acts, result)
        for act in acts:
            _dependencies(act, present, path.decided, result)
            if act.is_read and act.rmw >= 0:
                result.rmw.append((act.id, act.rmw))
            result.plain |= not act.marked
    if any(act.is_write and not act.marked for act in path.acts):
        for acts in threads.values():
            _barriers(acts, result)
    return result


def _cross(first: Iterable[Act], second: Iterable[Act]) -> Pairs:
    later = [b.id for b in second]
    return [(a.id, b) for a in first for b in later]


def _fences(acts: list[Act], out: Ordering) -> None:
    for index, act in enumerate(acts):
        tag = act.order
        if not tag or tag in ("once", "plain", "noreturn"):
            continue
        before = [a for a in acts[:index] if is_memory(a)]
        after = [a for a in acts[index + 1 :] if is_memory(a)]
        if act.kind == "F" or act.kind == "SRCU":
            _fence(tag, acts, index, before, after, out)
        elif tag == "acquire":
            out.acq_po += _cross([act], after)
        elif tag == "release":
            out.po_rel += _cross(before, [act])
        elif tag == "mb":
            if act.is_read:
                out.mb += _cross(before, [act])
            else:
                out.mb += _cross([act], after)


def _fence(
    tag: str, acts: list[Act], index: int, before: list[Act], after: list[Act], out: Ordering
) -> None:
    match tag:
        case "mb":
            out.mb += _cross(before, after)
        case "rmb":
            reads_before = list(filter(_r4rmb, before))
            reads_after = list(filter(_r4rmb, after))
            out.rmb += _cross(reads_before, reads_after)
            out.rmb_from += _cross(reads_before, filter(_not_noreturn, after))
            out.rmb_to += _cross(filter(_not_noreturn, before), reads_after)
        case "wmb":
            out.wmb += _cross(
                (a for a in before if a.is_write), [a for a in after if a.is_write]
            )
        case "sync-rcu" | "sync-srcu":
            out.gp += _cross(before, after)
        case "before-atomic":
            for place, act in enumerate(acts[index + 1 :], index + 1):
                if _is_rmw(act):
                    out.mb += _cross(before, filter(is_memory, acts[place:]))
                    break
        case "after-atomic" | "after-spinlock" | "after-srcu-read-unlock":
            for place in range(index - 1, -1, -1):
                if _anchors(tag, acts[place]):
                    out.mb += _cross(filter(is_memory, acts[: place + 1]), after)
                    break
        case _:
            pass


def _anchors(tag: str, act: Act) -> bool:
    """Whether ``act`` is what a fence of this tag strengthens."""
    if tag == "after-atomic":
        return _is_rmw(act)
    return act.kind == "LKW" if tag == "after-spinlock" else act.order == "srcu-unlock"


def _r4rmb(act: Act) -> bool:
    return act.is_read and act.node.order != "noreturn"


def _not_noreturn(act: Act) -> bool:
    return act.node.order != "noreturn"


def _is_rmw(act: Act) -> bool:
    return act.node.rmw >= 0 and act.kind not in LOCK_KINDS


def _locks(acts: list[Act], out: Ordering) -> None:
    """The halves of ``po-unlock-lock-po``; unlocks that unlock nothing."""
    held: set[int] = set()
    for act in acts:
        if act.kind == "LKW":
            held.add(act.address)
        elif act.kind == "UL":
            if act.address not in held:
                out.flags.add("unmatched-unlock")
            held.discard(act.address)
    for index, act in enumerate(acts):
        if act.kind == "UL":
            out.unlock_po += _cross(filter(is_memory, acts[:index]), [act])
            out.unlock_lock += _cross([act], [a for a in acts[index:] if a.kind == "LKR"])
        elif act.kind == "LKR":
            after = acts[index + 1 :]
            out.lock_po += _cross([act], filter(is_memory, after))
            for place, fence in enumerate(after):
                if fence.order == "after-unlock-lock":
                    out.lock_fence += _cross([act], filter(is_memory, after[place:]))
                    break


def _dependencies(act: Act, present: set[int], decided: Decided, out: Ordering) -> None:
    if not is_memory(act):
        return
    node = act.node

    def pairs(taint: Taint) -> Pairs:
        return [
            (read, act.id)
            for read, guard in taint.items()
            if read in present and decided.holds(guard)
        ]

    if node.addr_deps:
        out.addr += pairs(node.addr_deps)
    if act.is_write:
        if node.data_deps:
            out.data += pairs(node.data_deps)
        if node.ctrl_deps:
            out.ctrl += pairs(node.ctrl_deps)


def _sections(acts: list[Act], out: Ordering) -> None:
    """Grace periods and RCU read-side critical sections; nested ones match up."""
    open_locks: list[tuple[int, Act]] = []
    for index, act in enumerate(acts):
        if act.order in _SYNC and act.kind != "R":
            place = act.address if act.kind == "SRCU" else None
            out.sections.append(Section(act.thread, index, index, place, True, act.id, act.id))
        elif act.order == "rcu-lock":
            open_locks.append((index, act))
        elif act.order == "rcu-unlock":
            if not open_locks:
                out.flags.add("unmatched-rcu-unlock")
                continue
            start, lock = open_locks.pop()
            out.sections.append(Section(act.thread, start, index, None, False, lock.id, act.id))
            if any(sleep.kind == "SRCU" for sleep in acts[start:index]):
                out.flags.add("invalid-sleep")
    if open_locks:
        out.flags.add("unmatched-rcu-lock")


def _barriers(acts: list[Act], out: Ordering) -> None:
    """``barrier`` of linux-kernel.cat, between events of one location only."""
    for index, act in enumerate(acts):
        tag = act.order
        if tag not in _BARRIERS:
            continue
        before = [a for a in acts[:index] if is_memory(a)]
        after = [a for a in acts[index + 1 :] if is_memory(a)]
        if tag == "release":
            after = [act, *after]
        elif tag == "acquire":
            before = [*before, act]
        out.barrier += [(a.id, b.id) for a in before for b in after if a.address == b.address]
