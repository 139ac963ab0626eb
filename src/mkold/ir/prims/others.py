"""What no other thread sees: checks, the CPU's number, its clock, prefetches."""

from __future__ import annotations

from mkold.ir.prims.row import Gives, Prim, Shape, Takes

ROWS = [
    Prim(name="BUG_ON", shape=Shape.BUG_ON, takes=(Takes.CONDITION,), macro="v", op="bug-on",
         source="include/asm-generic/bug.h"),
    Prim(name="division_by_zero", shape=Shape.BUG_ON, takes=(Takes.CONDITION,),
         op="division-by-zero", source="C11, 6.5.5"),
    Prim(name="bad_call", shape=Shape.BAD_CALL, takes=(Takes.WORD,),
         source="mkold's own: a call through a word that is no function's"),
    Prim(name="WARN_ON_ONCE", shape=Shape.WARN_ON, takes=(Takes.CONDITION,), macro="v",
         gives=(Gives.CONDITION,), source="include/asm-generic/bug.h"),
    Prim(name="cpu_relax", shape=Shape.CPU_RELAX, macro="", source="Documentation/core-api"),
    Prim(name="might_sleep", shape=Shape.CPU_RELAX, sleeps=True,
         source="include/linux/kernel.h"),
    Prim(name="smp_processor_id", shape=Shape.CPU_ID, gives=(Gives.WORD,), macro="",
         source="include/linux/smp.h"),
    Prim(name="prefetch", shape=Shape.PREFETCH, takes=(Takes.WORD,),
         source="include/linux/prefetch.h: invalid addresses are taken"),
    Prim(name="get_cycles", shape=Shape.CYCLES, gives=(Gives.WORD,),
         source="include/asm-generic/timex.h"),
]  # fmt: skip
