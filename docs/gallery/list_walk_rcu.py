"""xfrm: the policy hash table is freed while a lookup walks a chain in it.

Policies are taken out of the table first, then the table goes; the lookup holds nothing but
an RCU read section.

    mkold check docs/gallery/list_walk_rcu.py --explain
"""

from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    poison,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    synchronize_rcu,
    u64,
)

SOURCE = (
    '"xfrm: Wait for RCU readers during policy netns exit" (CVE-2026-43091), stable commit '
    "069daad4f2ae"
)
SENTENCE = "A lookup walks policies and a table that are there."


class Policy(Struct):
    next: "Ptr[Policy]"
    index: u64


class Table(Struct):
    first: Ptr[Policy]


class Net(Struct):
    policy_bydst: Ptr[Table]


@kernel
def xfrm_policy_lookup(net: Ptr[Net], index: u64) -> bool:
    found = False
    rcu_read_lock()
    table = rcu_dereference(net.policy_bydst)
    if table:
        policy = rcu_dereference(table.first)
        while policy:
            if READ_ONCE(policy.index) == index:
                found = True
                break
            policy = rcu_dereference(policy.next)
    rcu_read_unlock()
    return found


@kernel
def xfrm_policy_fini(net: Ptr[Net]) -> None:
    table = READ_ONCE(net.policy_bydst)
    policy = READ_ONCE(table.first)
    WRITE_ONCE(table.first, READ_ONCE(policy.next))  # hlist_del_rcu()
    WRITE_ONCE(net.policy_bydst, NULL)
    synchronize_rcu()
    poison(policy.next, 2)
    poison(table.first, 1)


def lookup_and_exit(m: Setup) -> None:
    net, table = m.new(Net, "net"), m.new(Table, "table")
    a, b = m.new(Policy, "a"), m.new(Policy, "b")
    for word, value in ((net, table), (table, a), (a, b), (a + 1, 1), (b + 1, 2)):
        m.poke(word, value)
    m.thread("lookup", (xfrm_policy_lookup, net, 2))
    m.thread("exit", (xfrm_policy_fini, net))


SCENARIO = Scenario("policies", lookup_and_exit)
NO_WAIT = (Drop("xfrm_policy_fini:synchronize_rcu"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("a grace period before the free", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("freed at once", SCENARIO, NO_WAIT),)),
]
