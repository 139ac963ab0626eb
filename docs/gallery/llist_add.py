"""llist_add() reads the head twice: the node between the two reads is lost.

One plain read in the source, but the compiler may make two of it: one for ``new->next``, one
for what the compare-and-swap expects. Two adders.

    mkold check docs/gallery/llist_add.py --explain
"""

from mkold.check import Case, Claim, End, Scenario, Setup
from mkold.lang import READ_ONCE, WRITE_ONCE, KernelFunction, Ptr, Struct, cmpxchg, kernel

SOURCE = 'commit fb4214db50b0 ("llist: fix/simplify llist_add() and llist_add_batch()")'
SENTENCE = "Every node that was added is on the list."


class Node(Struct):
    next: "Ptr[Node]"


class LlistHead(Struct):
    first: Ptr[Node]


@kernel
def llist_add(new: Ptr[Node], head: Ptr[LlistHead]) -> None:
    while True:
        first = READ_ONCE(head.first)
        WRITE_ONCE(new.next, first)
        if cmpxchg(head.first, first, new) == first:
            return


@kernel
def llist_add_as_compiled(new: Ptr[Node], head: Ptr[LlistHead]) -> None:
    while True:
        WRITE_ONCE(new.next, READ_ONCE(head.first))
        first = READ_ONCE(head.first)
        if cmpxchg(head.first, first, new) == first:
            return


def two_adders(add: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        head = m.new(LlistHead, "head")
        nodes = {m.new(Node, name): name for name in ("a", "b")}
        m.watch("head.first", head)
        for node, name in nodes.items():
            m.watch(f"{name}.next", node)
            m.thread(f"add {name}", (add, node, head))

        def lost(end: End) -> bool:
            found, node = [], end["head.first"]
            while node in nodes:
                found.append(node)
                node = end[f"{nodes[node]}.next"]
            return len(found) < len(nodes)

        m.never("lost", lost, "A node that was added is not on the list.")

    return Scenario(f"llist-{add.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("the head read once", two_adders(llist_add)),)),
    Claim("bug", SENTENCE, SOURCE, (Case("read twice", two_adders(llist_add_as_compiled)),)),
]
