"""The few lines of LLVM IR that every image holds, and the target's peculiarities.

``@mkold.bug``   record a failure, stop the machine
``@mkold.warn``  record a warning
``@mkold.relax`` pause, now and then give the CPU away; returns whether to stop
"""

from __future__ import annotations

from mkold.ir import boot

# After this many pauses in one function's run the thread gives its CPU to another: with
# more threads than CPUs, whoever holds the lock may be the one that waits for it.
PAUSES_PER_YIELD = 64

_RECORD = """
define internal void @mkold.{name}(ptr %b, i64 %cpu, i64 %site, i64 %value) cold noinline {{
  %count = getelementptr i64, ptr %b, i64 {count}
  %old = atomicrmw add ptr %count, i64 1 monotonic
  %where = getelementptr i64, ptr %b, i64 {site}
  %number = add i64 %site, 1
  %pair = cmpxchg ptr %where, i64 0, i64 %number monotonic monotonic
  %first = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %first, label %fill, label %end
fill:
  %cpu.at = getelementptr i64, ptr %b, i64 {cpu}
  store i64 %cpu, ptr %cpu.at
  {extra}
  br label %end
end:
  {stop}
  ret void
}}
"""

_RELAX = """
declare void @mkold_yield()
{declare_pause}
define internal i1 @mkold.relax(ptr %b, ptr %n) {{
  {pause}
  %n.old = load i64, ptr %n
  %n.new = add i64 %n.old, 1
  store i64 %n.new, ptr %n
  %rest = and i64 %n.new, {mask}
  %often = icmp eq i64 %rest, 0
  br i1 %often, label %yield, label %poll
yield:
  call void @mkold_yield()
  br label %poll
poll:
  %at = getelementptr i64, ptr %b, i64 {stop}
  %word = load atomic volatile i64, ptr %at monotonic, align 8
  %set = icmp ne i64 %word, 0
  ret i1 %set
}}
"""

_VALUE = """%value.at = getelementptr i64, ptr %b, i64 {value}
  store i64 %value, ptr %value.at"""
_STOP = """%stop.at = getelementptr i64, ptr %b, i64 {stop}
  store atomic i64 1, ptr %stop.at monotonic, align 8"""

_PAUSES = {  # declaration, call
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}


def is_x86(triple: str) -> bool:
    """Whether atomic read-modify-writes are full barriers of themselves."""
    return triple.startswith(("x86_64", "amd64"))


def prologue(triple: str) -> str:
    """The LLVM IR that goes before the functions of an image."""
    arch = "x86_64" if is_x86(triple) else triple.split("-")[0]
    declare, pause = _PAUSES.get(arch, ("", ""))
    bug = _RECORD.format(
        name="bug", count=boot.BUG_COUNT, site=boot.BUG_SITE, cpu=boot.BUG_CPU,
        extra=_VALUE.format(value=boot.BUG_VALUE), stop=_STOP.format(stop=boot.STOP),
    )  # fmt: skip
    warn = _RECORD.format(
        name="warn", count=boot.WARN_COUNT, site=boot.WARN_SITE, cpu=boot.WARN_CPU,
        extra="", stop="",
    )  # fmt: skip
    relax = _RELAX.format(
        declare_pause=declare, pause=pause, mask=PAUSES_PER_YIELD - 1, stop=boot.STOP
    )
    return "\n".join(
        [
            "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
            "declare i64 @llvm.readcyclecounter()",
            "declare i64 @llvm.vector.reduce.or.v4i64(<4 x i64>)",
            "declare i1 @llvm.vector.reduce.or.v4i1(<4 x i1>)",
            "declare i64 @llvm.umin.i64(i64, i64)",
            bug,
            warn,
            relax,
        ]
    )
