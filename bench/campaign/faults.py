"""Faults to put into the engines, one piece of source for another (see engine_mutation.py).

``harmless`` says why a fault changes no verdict, where that is so. Faults in what all engines
share (the events of a primitive, dependencies, the flags' words) are not among these: no engine
could tell on another. Litmus tests with known answers hold those.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """``old`` becomes ``new`` in ``mkold.lkmm.MODULE``."""

    name: str
    module: str
    old: str
    new: str
    harmless: str = ""


FAULTS = (
    # -- the SAT engine: coherence, atomicity, order
    Fault(
        "no fr without a source before it",
        "sat.coherence",
        "                add([-lit, -same, fr])\n",
        "                pass\n",
    ),
    Fault(
        "fr is not forced by co",
        "sat.coherence",
        "                add([-lit, -same, -before, fr])\n",
        "",
    ),
    Fault(
        "read-modify-writes may be torn",
        "sat.coherence",
        "            self._atomic()\n",
        "            pass\n",
    ),
    Fault(
        "two reads of a word in any order",
        "sat.coherence",
        "            self._reads_in_order()\n",
        "",
    ),
    Fault(
        "ppo without data",
        "sat.causality",
        "            self.addr, self.data, self.ctrl, full,",
        "            self.addr, self.ctrl, full,",
    ),
    Fault(
        "ppo without ctrl",
        "sat.causality",
        "            self.addr, self.data, self.ctrl, full,",
        "            self.addr, self.data, full,",
    ),
    Fault(
        "no dependency is carried through memory",
        "sat.causality",
        "        if not step:\n            return\n        carry",
        "        return\n        carry",
    ),
    Fault(
        "acquire orders nothing",
        "sat.causality",
        'po_rel, acq_po = self.fence("po-rel"), self.fence("acq-po")',
        'po_rel, acq_po = self.fence("po-rel"), self.nothing("acq-po")',
    ),
    Fault(
        "smp_wmb() is smp_rmb()",
        "sat.causality",
        'self.fence("rmb"), self.fence("wmb")',
        'self.fence("rmb"), self.fence("rmb")',
    ),
    Fault(
        "release is not cumulative",
        "sat.causality",
        'self.releasing = union("A-cumul", self.strong, po_rel)',
        'self.releasing = union("A-cumul", self.strong)',
    ),
    Fault(
        "no rmw-sequence",
        "sat.causality",
        "        if self.rmw_sequence:\n",
        "        if False:\n",
    ),
    Fault(
        "unlock to lock orders nothing",
        "sat.causality",
        "        if not before:\n            return\n        locks",
        "        return\n        locks",
    ),
    Fault(
        "no propagation",
        "sat.causality",
        'self.time = union("hb-or-pb", self.hb, self.pb)',
        "self.time = self.hb",
    ),
    Fault(
        "a failed compare-and-swap has its tag",
        "sat.fences",
        'return "" if act.conditional and act.rmw not in self.here else act.order',
        "return act.order",
    ),
    Fault(
        "RCU sections are not seen",
        "sat.grace",
        '            elif act.order == "rcu-unlock" and opened:\n',
        "            elif False:\n",
    ),
    Fault(
        "a section counts as a grace period",
        "sat.grace",
        "        if one.grace == two.grace or one.srcu != two.srcu:",
        "        if one.srcu != two.srcu:",
    ),
    Fault(
        "who stops in a section has left it",
        "sat.grace",
        "        if thread in self.causality.candidate.stands:\n"
        "            for start, lock in opened:",
        "        if False:\n            for start, lock in opened:",
    ),
    # -- the SAT engine: loops, stops, hangs
    Fault(
        "a waiting round is kept as any other",
        "sat.loops",
        '        return binary("or", differs, self._unbalanced(nodes))\n',
        "        return 1\n",
    ),
    Fault(
        "a round that writes is a waiting one",
        "sat.loops",
        "        return phi(node.guard, 1, 0)\n",
        "        return 0\n",
    ),
    Fault(
        "a round that changes a local is a waiting one",
        "sat.loops",
        '            differs = binary("or", differs, binary("ne", now, before))\n',
        "            pass\n",
    ),
    Fault(
        "no waiting round is kept",
        "sat.loops",
        "            self.keeps.append(Keep(keep, self.unit, self.where, mine))\n",
        "            keep = 0\n",
    ),
    Fault(
        "nobody stops at a lock",
        "sat.blocking",
        "        if not (row.waits or row.awaits) or state.live == 0:",
        "        if not row.awaits or state.live == 0:",
    ),
    Fault(
        "nobody stops before a grace period",
        "sat.blocking",
        "        if not (row.waits or row.awaits) or state.live == 0:",
        "        if not row.waits or state.live == 0:",
    ),
    Fault(
        "who hangs need not read the last write",
        "sat.hangs",
        "                formula.add([*head, -fr, *resting])\n",
        "                pass\n",
    ),
    Fault(
        "who spins wakes the other",
        "sat.hangs",
        "resting = [] if at_lock else self._resting.get(write.id, [])",
        "resting: list[Lit] = []",
    ),
    Fault(
        "a lock that is left again keeps others waiting",
        "sat.hangs",
        "resting = [] if at_lock else self._resting.get(write.id, [])",
        "resting = self._resting.get(write.id, [])",
    ),
    Fault(
        "a grace period may last for ever",
        "sat.hangs",
        "                formula.add([-self.lit, -lit, self._is_held(stand)])\n",
        "                pass\n",
    ),
    Fault(
        "flags of whole executions alone",
        "sat.engine",
        "            ways.append(True)\n",
        "            pass\n",
    ),
    Fault(
        "a bound is never raised",
        "sat.engine",
        "            raised = True\n",
        "            pass\n",
        harmless="the verdict says then that a bound was hit",
    ),
    # -- the SAT engine: values, memory, symmetry, flags
    Fault(
        "one word of each read",
        "sat.front",
        "        if others is not None:\n            word = abstract.join(word, others)\n",
        "        if others is not None and not word:\n"
        "            word = abstract.join(word, others)\n",
    ),
    Fault(
        "a private word is never set",
        "sat.front",
        "        state.mem[at] = value[0], merge_taints(taint, value[1])\n",
        "",
    ),
    Fault(
        "what is freed is not watched",
        "sat.front",
        "            self.round.events.add(address)\n        return watched",
        "            return False\n        return watched",
    ),
    Fault(
        "states of exchanged threads are not listed",
        "sat.questions",
        "alike = self.breaking.alike(state, observed) if breaks else [state]",
        "alike = [state]",
    ),
    Fault(
        "threads are sorted the wrong way too",
        "sat.breaking",
        "formula.add([-self.sorted, -first, *ways])",
        "formula.add([-self.sorted, -first])",
    ),
    Fault(
        "no race of what is ordered one way",
        "sat.visible",
        "            if not marked >> b & 1:\n"
        "                need.append((self.wr_vis, a, b))\n",
        "",
    ),
    Fault(
        "a free is no write",
        "sat.flags",
        "                if free.life is Life.FREED:",
        "                if False:",
    ),
    Fault(
        "an unlock of anything is fine",
        "sat.flags",
        '                self._flag("unmatched-unlock", '
        "words.both(formula.x[node.id], -words.any(mine)))\n",
        "",
    ),
    # -- masks, and what it stands on
    Fault(
        "ppo without addr",
        "model.order",
        "    parts = [\n        deps.addr,\n",
        "    parts = [\n",
    ),
    Fault(
        "cumul-fence without wmb",
        "model.order",
        'union("cumul-fence", releasing, cumulative, fences.wmb, handover.po)',
        'union("cumul-fence", releasing, cumulative, handover.po)',
    ),
    Fault(
        "prop without the last rfe",
        "model.order",
        'union("prop", led, rfe, seq("prop", led, rfe))',
        'union("prop", led)',
    ),
    Fault(
        "rcu-order is not closed by links",
        "model.grace",
        '        grown = union("rcu-order", order, around, seq("rcu-order", order, linked))',
        "        grown = order",
    ),
    Fault(
        "any srcu_struct will do",
        "model.grace",
        "return a.grace != b.grace and a.place == b.place",
        "return a.grace != b.grace",
    ),
    Fault(
        "races of plain writes need one order",
        "model.plain",
        "            if a not in marked:\n"
        '                fine &= row("rw-xbstar", a).get(b, 0)\n',
        "",
    ),
    Fault(
        "r-post-bounded without rmb",
        "model.plain",
        'union("r-post-bounded", nonrw, base.static("rmb", "rmb_to"))',
        "nonrw",
    ),
    Fault(
        "a waiting round that stores is left out",
        "unroll.memory",
        "        new = self.graph.nodes[n_nodes:]\n",
        "        new: list[Node] = []\n",
    ),
    Fault(
        "a waiting round that changes a local is left out",
        "unroll.memory",
        "            return False\n        for address, (stored",
        "            pass\n        for address, (stored",
    ),
    Fault(
        "right after a free, and anywhere after",
        "masks.answers",
        "                right &= ~(before & later[write])\n",
        "                pass\n",
    ),
    Fault(
        "a path needs no supply",
        "paths.supply",
        "            if need & ~(given | rest[unit]):\n                return\n",
        "",
        harmless="it only leaves out choices without executions",
    ),
)
