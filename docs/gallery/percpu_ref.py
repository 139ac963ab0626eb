"""percpu_ref: ``switch_to_atomic_sync()`` returns while the count still has one too many.

The switch takes a reference of its own, waits for a grace period, adds up what the CPUs
counted, says that it is done, and puts its reference. A user puts the one reference that
there is. BIAS keeps the count from zero until then.

    mkold check docs/gallery/percpu_ref.py --explain
"""

from mkold.check import Case, Claim, Exchange, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    KernelFunction,
    Ptr,
    Struct,
    atomic_add,
    atomic_dec,
    atomic_inc,
    atomic_read,
    atomic_t,
    call_rcu,
    cast,
    cpu_relax,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_processor_id,
    smp_store_release,
    u64,
)

SOURCE = (
    '"percpu_ref: call wake_up_all() after percpu_ref_put() completes", '
    "https://lore.kernel.org/r/20220407103335.36885-1-zhengqi.arch@bytedance.com"
)
SENTENCE = "After the switch the count is the number of references."

BIAS = 1 << 20
CPUS = 2


class PercpuRef(Struct):
    atomic_mode: u64
    confirmed: u64
    count: atomic_t
    percpu: Array[u64, CPUS]


@kernel
def percpu_ref_put(ref: Ptr[PercpuRef]) -> None:
    rcu_read_lock()
    if READ_ONCE(ref.atomic_mode):
        atomic_dec(ref.count)
    else:
        cpu = smp_processor_id()
        WRITE_ONCE(ref.percpu[cpu], READ_ONCE(ref.percpu[cpu]) - 1)
    rcu_read_unlock()


@kernel
def percpu_ref_switch_to_atomic_rcu(word: u64) -> None:
    ref = cast(Ptr[PercpuRef], word)
    total = 0
    for cpu in range(CPUS):
        total += READ_ONCE(ref.percpu[cpu])
    atomic_add(ref.count, total - BIAS)
    atomic_dec(ref.count)  # percpu_ref_put() of the switch's own reference
    smp_store_release(ref.confirmed, 1)  # wake_up_all()


@kernel
def percpu_ref_switch_to_atomic_sync(ref: Ptr[PercpuRef]) -> u64:
    atomic_inc(ref.count)
    WRITE_ONCE(ref.atomic_mode, 1)
    call_rcu(percpu_ref_switch_to_atomic_rcu, ref)
    while not smp_load_acquire(ref.confirmed):
        cpu_relax()
    return atomic_read(ref.count)


@kernel
def switch_without_grace_period(ref: Ptr[PercpuRef]) -> u64:
    atomic_inc(ref.count)
    WRITE_ONCE(ref.atomic_mode, 1)
    percpu_ref_switch_to_atomic_rcu(ref)
    return atomic_read(ref.count)


def one_reference(switch: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        ref = m.new(PercpuRef, "ref")
        m.poke(ref + PercpuRef.offset("count"), BIAS)
        m.poke(ref + PercpuRef.offset("percpu"), 1)
        m.watch("ref.count", ref + PercpuRef.offset("count"))
        m.thread("switch", (switch, ref))
        m.thread("user", (percpu_ref_put, ref))
        m.never("one-too-many", lambda end: end.result("switch") > 1, "The count is too high.")
        m.never("lost", lambda end: bool(end["ref.count"]), "A put is lost.")

    return Scenario(f"ref-{switch.name.replace('_', '-')}", setup)


SCENARIO = one_reference(percpu_ref_switch_to_atomic_sync)
EARLY = Exchange(
    "percpu_ref_switch_to_atomic_rcu:atomic_dec",
    "percpu_ref_switch_to_atomic_rcu:smp_store_release",
)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("put, then wake", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("wake, then put", SCENARIO, (EARLY,)),
            Case("no grace period", one_reference(switch_without_grace_period)),
        ),
    ),
]
