"""A lock that lies in an object which is set up, used and freed while threads run."""

from __future__ import annotations

import pytest

from mkold.check import Case, Scenario, Setup
from mkold.check.decide import decide_case
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    cpu_relax,
    kernel,
    poison,
    rcu_assign_pointer,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_store_release,
    spin_lock,
    spin_lock_init,
    spin_trylock,
    spin_unlock,
    spinlock_t,
    synchronize_rcu,
    u64,
)


class Obj(Struct):
    lock: spinlock_t
    count: u64


class Root(Struct):
    obj: Ptr[Obj]


@kernel
def publish_zero(root: Ptr[Root], obj: Ptr[Obj]) -> None:
    obj.lock = 0
    obj.count = 3
    rcu_assign_pointer(root.obj, obj)


@kernel
def publish(root: Ptr[Root], obj: Ptr[Obj]) -> None:
    spin_lock_init(obj.lock)
    obj.count = 3
    rcu_assign_pointer(root.obj, obj)


@kernel
def publish_early(root: Ptr[Root], obj: Ptr[Obj]) -> None:
    WRITE_ONCE(root.obj, obj)
    spin_lock_init(obj.lock)


@kernel
def forget_the_lock(root: Ptr[Root], obj: Ptr[Obj]) -> None:
    obj.count = 3
    rcu_assign_pointer(root.obj, obj)


@kernel
def withdraw(root: Ptr[Root], obj: Ptr[Obj]) -> None:
    WRITE_ONCE(root.obj, 0)
    synchronize_rcu()
    poison(obj.lock, 2)


@kernel
def withdraw_at_once(root: Ptr[Root], obj: Ptr[Obj]) -> None:
    WRITE_ONCE(root.obj, 0)
    poison(obj.lock, 2)


@kernel
def use(root: Ptr[Root]) -> u64:
    rcu_read_lock()
    obj = rcu_dereference(root.obj)
    n = 3
    if obj:
        spin_lock(obj.lock)
        n = obj.count
        spin_unlock(obj.lock)
    rcu_read_unlock()
    return n


@kernel
def try_to_use(root: Ptr[Root]) -> None:
    obj = rcu_dereference(root.obj)
    if obj and spin_trylock(obj.lock):
        spin_unlock(obj.lock)


@kernel
def use_and_read(root: Ptr[Root]) -> u64:
    obj = rcu_dereference(root.obj)
    if not obj:
        return 0
    spin_lock(obj.lock)
    spin_unlock(obj.lock)
    return READ_ONCE(obj.lock)


def broken(
    writer: KernelFunction, reader: KernelFunction = use, *, new: bool = True
) -> tuple[str, ...]:
    """What breaks while ``writer`` gives a new object to ``reader``, or takes an old one."""

    def setup(m: Setup) -> None:
        root = m.new(Root, "root")
        obj = m.raw(2) if new else m.new(Obj, "obj")
        if not new:
            m.poke(root, obj)
            m.poke(obj + 1, 3)
        m.thread("writer", (writer, root, obj))
        m.thread("reader", (reader, root))

    found = decide_case(Case("as written", Scenario("object", setup)), show=False)
    assert found.status != "undecided"
    return found.broken


@pytest.mark.parametrize("writer", [publish, publish_zero], ids=["spin_lock_init()", "= 0"])
@pytest.mark.parametrize("reader", [use, try_to_use], ids=["lock", "trylock"])
def test_a_lock_is_set_up_before_it_is_seen(
    writer: KernelFunction, reader: KernelFunction
) -> None:
    assert broken(writer, reader) == ()


def test_a_lock_is_freed_once_nobody_can_have_it() -> None:
    assert broken(withdraw, new=False) == ()


@pytest.mark.parametrize("reader", [use, try_to_use], ids=["lock", "trylock"])
def test_a_lock_is_used_after_it_was_freed(reader: KernelFunction) -> None:
    assert "use-after-free" in broken(withdraw_at_once, reader, new=False)


@pytest.mark.parametrize("writer", [publish_early, forget_the_lock])
@pytest.mark.parametrize("reader", [use, try_to_use], ids=["lock", "trylock"])
def test_a_lock_is_used_before_it_is_set_up(
    writer: KernelFunction, reader: KernelFunction
) -> None:
    assert "use-before-init" in broken(writer, reader)


def test_a_lock_that_is_also_read_is_told() -> None:
    assert broken(publish, use_and_read) == ("mixed-lock-accesses",)


class Box(Struct):
    inside: Ptr[Obj]


@kernel
def is_done(obj: Ptr[Obj]) -> bool:
    spin_lock(obj.lock)
    done = obj.count != 0
    spin_unlock(obj.lock)
    return done


@kernel
def fill(box: Ptr[Box], obj: Ptr[Obj]) -> None:
    spin_lock_init(obj.lock)
    obj.count = 0
    smp_store_release(box.inside, obj)


@kernel
def wait_on_stack(box: Ptr[Box], obj: Ptr[Obj]) -> None:
    fill(box, obj)
    while not is_done(obj):
        cpu_relax()
    poison(obj.lock, 2)


@kernel
def give_up(box: Ptr[Box], obj: Ptr[Obj]) -> None:
    fill(box, obj)
    is_done(obj)
    poison(obj.lock, 2)


@kernel
def complete(box: Ptr[Box]) -> None:
    while not READ_ONCE(box.inside):
        cpu_relax()
    obj = smp_load_acquire(box.inside)
    spin_lock(obj.lock)
    obj.count = 1
    spin_unlock(obj.lock)


@kernel
def poll_one_of(box: Ptr[Box]) -> None:
    obj = READ_ONCE(box.inside)
    while not is_done(obj):
        cpu_relax()


@kernel
def complete_both(one: Ptr[Obj], two: Ptr[Obj], box: Ptr[Box]) -> None:
    WRITE_ONCE(box.inside, two)
    for obj in range(2):
        to = one if obj else two
        spin_lock(to.lock)
        to.count = 1
        spin_unlock(to.lock)


@pytest.mark.parametrize(
    ("waits", "status"), [(wait_on_stack, "holds"), (give_up, "counterexample")]
)
def test_a_frame_ends_after_its_lock_is_polled(waits: KernelFunction, status: str) -> None:
    def setup(m: Setup) -> None:
        box = m.new(Box, "box")
        m.thread("waits", (waits, box, m.raw(Obj.size)))
        m.thread("completes", (complete, box))

    found = decide_case(Case("as written", Scenario("stack", setup)), show=False)
    assert found.status == status
    assert ("use-after-free" in found.broken) == (status == "counterexample")


def test_one_of_two_objects_is_polled_under_its_lock() -> None:
    def setup(m: Setup) -> None:
        box, one, two = m.new(Box, "box"), m.new(Obj, "one"), m.new(Obj, "two")
        m.poke(box, one)
        m.thread("polls", (poll_one_of, box))
        m.thread("completes", (complete_both, one, two, box))

    found = decide_case(Case("as written", Scenario("two", setup)), show=False)
    assert (found.status, found.broken) == ("holds", ())
