"""Inputs that are samples, faults, distributions or tables: vectors, and any damage to them.

Vectors are lines as the tools print them, shortened; each names its tool.
"""

from __future__ import annotations

import contextlib
import io
import json
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.base.errors import InputError, LimitError, SourceError
from mkold.trace.feed import Limits
from mkold.trace.fold import Folder
from mkold.trace.formats.door import convert
from mkold.trace.schema import Trace

VIEW, MEM, FAULTS = (
    "DynamoRIO's drmemtrace view",
    "perf script of perf mem (samples)",
    "the kernel's fault events (faults)",
)
PAGE_FAULTS, CSV = "perf script of page faults (faults)", "CSV with a trace's columns"

VIEW_TEXT = b"""\
Output format:
<--record#-> <--instr#->: <---tid---> <record details>
------------------------------------------------------------
           1           0:     3256418 <marker: version 3>
           5           1:     3256418 ifetch       3 byte(s) @ 0x0000000000401000 48 89 e7 mov
           6           2:     3256418 read         8 byte(s) @ 0x00007ffc00001ffc by PC 0x401003
           7           2:     3256418 write        8 byte(s) @ 0x00007ffc00003000 by PC 0x401003
           8           2:     3256419 prefetch     8 byte(s) @ 0x00007ffc00004000 by PC 0x401003
View tool results:
              1 : total instructions
"""
OLD_VIEW_TEXT = b"""\
T342625 <marker: timestamp 13269730052011562>
T342625 ifetch       4 byte(s) @ 0x00007f1b1cd15090 48 83 ec 08 sub
T342625 write        8 byte(s) @ 0x00007ffe00002000 by PC 0x00007f1b1cd15090
"""
MEM_TEXT = b"""\
 Web Content   100 [000]   10.1:   30  cpu/mem-loads,ldlat=30/P:  7ffd00001008   10268100142 \
|OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A   5   401000 f+0x1 (/bin/x)
 prog   100 [000]   10.2:   10  cpu/mem-stores/P:   7ffd00002010   5080144 \
|OP STORE|LVL L1 hit|SNP N/A|TLB N/A|LCK N/A|BLK  N/A     0   401000 f+0x1 (/bin/x)
 prog   100 [000]   10.3:    1  cpu/mem-loads,ldlat=30/P:   0   5080144 \
|OP LOAD|LVL L1 hit|SNP N/A|TLB N/A|LCK N/A
"""
KVM_TEXT = b"""\
cpus=4
       CPU 0/KVM-2216  [003]  12.34567: kvm_page_fault:       vcpu 0 rip 0xffffffff81000000 \
address 0x0000000000001000 error_code 0x181
       CPU 1/KVM-2217  [001]  12.34568: kvm_page_fault:       vcpu 1 rip 0xffffffff81000000 \
address 0x0000000000002000 error_code 0x182
       CPU 1/KVM-2217  [001]  12.34569: kvm_entry:            vcpu 1, rip 0xffffffff81000000
"""
VECTORS = [
    (VIEW_TEXT, VIEW, [(0x7FFC00001, 0), (0x7FFC00002, 0), (0x7FFC00003, 1)]),
    (OLD_VIEW_TEXT, VIEW, [(0x7FFE00002, 1)]),
    (MEM_TEXT, MEM, [(0x7FFD00001, 0), (0x7FFD00002, 1)]),
    # trace-cmd report, Linux 5.19 and later; ftrace before that; perf script; arm64
    (KVM_TEXT, FAULTS, [(1, 0), (2, 1)]),
    (b"# tracer: nop\n q-1 [000] .... 1.5: kvm_page_fault: address feb00010 error_code 182\n",
     FAULTS, [(0xFEB00, 1)]),
    (b"CPU 0/KVM 221 [003] 1.5: kvm:kvm_page_fault: vcpu 3 rip 0x1 address 0x3000 "
     b"error_code 0x100000006\n", FAULTS, [(3, 1)]),
    (b"q 1 [003] 1.5: kvm:kvm_guest_fault: ipa 0x80000000, hsr 0x92000046, hxfar 0xf, pc 0x1\n"
     b"q 1 [003] 1.5: kvm:kvm_guest_fault: ipa 0x80001000, hsr 0x92000006, hxfar 0xf, pc 0x1\n"
     b"q 1 [003] 1.5: kvm:kvm_guest_fault: ipa 0x80002000, hsr 0x82000046, hxfar 0xf, pc 0x1\n",
     FAULTS, [(0x80000, 1), (0x80001, 0), (0x80002, 0)]),
    (b"p 1 [001] 1.5: exceptions:page_fault_user: address=0x7f1000 ip=0x55 error_code=0x6\n"
     b"p-1 [001] d..1. 1.5: page_fault_kernel: address=0x7f2000 ip=0x55 error_code=0x0\n",
     FAULTS, [(0x7F1, 1), (0x7F2, 0)]),
    # perf script -F +addr, with symbols and with a call chain
    (b"prog 1234 [001] 10.1:  1 page-faults:u:  7f1234567000  55d0c0ffee10 add (/bin/x)\n"
     b"prog 1234 [001] 10.1:  1 page-faults:  7f1234568000 \n\t  55d0c0ffee10 main+0x4 (/x)\n",
     PAGE_FAULTS, [(0x7F1234567, 0), (0x7F1234568, 0)]),
    # the same where perf knows the symbol behind the address (perf 6.1)
    (b"ls 99 2.0: 1 page-faults:  5609277d15c0 __progname+0x0 (/usr/bin/ls) ffffffff81775b9a "
     b"elf_load+0x7 ([kernel.kallsyms])\n"
     b"ls 99 2.1: 1 page-faults:  7ffd277d25c0 [unknown] ([stack])  55d0c0ffee10 f (/bin/x)\n",
     PAGE_FAULTS, [(0x5609277D1, 0), (0x7FFD277D2, 0)]),
    (b"page,write,run\n0,false,2\n7,true,1\n", CSV, [(0, 0), (0, 0), (7, 1)]),
    (b'"run";"kind";"address"\n1;"W";0x1000\n"2";R;8192\n', CSV, [(1, 1), (2, 0), (2, 0)]),
    (b"time\tvpn\trw\n5\t9\tload\n6\t9\tstore", CSV, [(9, 0), (9, 1)]),
]  # fmt: skip


def imported(text: bytes, seed: int = 1) -> tuple[Trace, list[str]]:
    with Folder() as folder:
        limits = Limits(seed=seed)
        origin, said = convert(io.BytesIO(text), "x", folder, limits, lambda *_: None)
        return folder.trace(origin).check(), said


def test_columns_that_are_not_taken_are_named() -> None:
    _, said = imported(b"addr,op,size,who\n0x1ffc,R,8,7\n0x3000,W,1,7\n")
    assert any("columns that are not taken: size, who" in line for line in said)


def accesses(trace: Trace) -> list[tuple[int, int]]:
    page = np.repeat(trace.vpn()[trace.page], trace.run).tolist()
    return list(zip(page, np.repeat(trace.write, trace.run).tolist(), strict=True))


@pytest.mark.parametrize(("text", "name", "wanted"), VECTORS)
def test_vectors(text: bytes, name: str, wanted: list[tuple[int, int]]) -> None:
    trace, _ = imported(text)
    assert (trace.header.source, accesses(trace)) == (name, wanted)


def test_samples_say_what_they_stand_for() -> None:
    said = imported(MEM_TEXT)[1]
    assert "these are samples, not every access" in said[1]
    assert said[2] == "3 samples, which stand for 41 events by their periods (one in 14)"
    assert said[3] == "left out: 1 lines that are no accesses"


def test_virtual_cpus_and_threads_are_counted() -> None:
    said = " ".join(imported(KVM_TEXT)[1])
    assert "2 faults of 2 vCPUs" in said
    assert "left out: 2 lines" in said
    assert "2 threads" in " ".join(imported(VIEW_TEXT)[1])


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        (
            VIEW_TEXT.replace(b"0x00007ffc00003000", b"0xzz"),
            (7, b"0xzz"),
            "address is not a number",
        ),
        (
            VIEW_TEXT.replace(b"8 byte(s) @ 0x00007ffc00001f", b"x byte(s) @ 0x1"),
            (6, b"x byte"),
            "size is not a number",
        ),
        (
            MEM_TEXT.replace(b"7ffd00002010   5080144", b"5080144"),
            (2, b"cpu/mem-stores"),
            "no address stands",
        ),
        (
            KVM_TEXT.replace(b"vcpu 1 rip 0xffffffff81000000 add", b"gpa"),
            (3, b"kvm_page_fault:"),
            "the fields of this event are not known",
        ),
        (
            b"prog 12 [001] 10.1:  1 page-faults:u:  55d0c0ffee10 main (/bin/x)\n",
            (1, b"page-f"),
            "the fault's address is missing",
        ),
        (
            b"prog 12 [001] 10.1:  1 page-faults: \n\t  55d0c0ffee10 main+0x4 (/x)\n",
            (1, b"page-f"),
            "the fault's address is missing",
        ),
        (b"page,write\n1,true\n2,maybe\n", (3, b"maybe"), "neither read nor write"),
        (b"page,write\n1,true\nx2,true\n", (3, b"x2"), "no page or address"),
        (b"page,write,run\n1,true\n", (2, b"1,"), "not 3 values"),
        (b"page,write,run\n1,true,0\n", (2, b"1,"), "the run is 0"),
        (b'[{"kdamond_idx": 0,\n "regions": [}]', (2, b"}]"), "not JSON"),
        (b"memcg 1 /\n node 0\n 1 2 3 4\n?\n", (4, b"?"), "not a line of lru_gen"),
        (
            b"1000-2000( 4.000 KiB): 3\n3000-2000( 4.000 KiB): 3\n",
            (2, b"3000-"),
            "not a region",
        ),
    ],
)
def test_wrong_lines_have_a_place(text: bytes, at: tuple[int, bytes], message: str) -> None:
    number, word = at
    with pytest.raises(SourceError, match=message) as caught:
        imported(text)
    assert caught.value.pos.line == number
    assert caught.value.pos.col == text.split(b"\n")[number - 1].index(word) + 1


# -- distributions ----------------------------------------------------------------------------

RAW = b"""\
base_time_absolute: 8 m 59.809 s

monitoring_start:                0 ns
monitoring_end:            104.599 ms
target_id: 0
nr_regions: 2
1000-5000(  16.000 KiB):        1000
7f0000000000-7f0000004000(  16.000 KiB):        3000
9000-a000(   4.000 KiB):        0
"""
EVENT = b"""\
 kdamond.0 4452 [0] 8.3: damon:damon_aggregated: target_id=0 nr_regions=2 4096-20480: 1000 3
 kdamond.0-4452 [000] ..... 8.3: damon_aggregated: target_id=0 nr_regions=2 \
139637976727552-139637976743936: 3000 0
"""
REGIONS = [
    {"start": "4,096", "end": "20,480", "nr_accesses": {"samples": "1,000"}, "age": 1},
    {"start": 0x7F0000000000, "end": 0x7F0000004000, "nr_accesses": 3000},
]
RECORD = json.dumps([{"kdamond_idx": 0, "snapshots": [{"regions": REGIONS}]}]).encode()
READABLE = b"""\
heatmap: 00000000
0   addr 86.182 TiB   size 16.000 KiB   access 25 %   age 14.900 s
1   addr 86.182 TiB   size 16.000 KiB   access 75 %   age 0 ns
"""
LRU_GEN = b"""\
memcg     1 /
 node     0
          4      91000          0         12x
          5      61000        100          0 
          6      31000          0          0 
"""  # noqa: W291 the kernel prints the blanks


@pytest.mark.parametrize("text", [RAW, EVENT, RECORD, zlib.compress(RECORD)])
def test_damon_gives_the_shares_of_its_regions(text: bytes) -> None:
    trace, said = imported(text)
    assert said[1].startswith("NOT A RECORDING")
    assert trace.n_accesses == 16_000
    assert [(r.n_pages, r.vpn) for r in trace.header.regions] == [(4, 1), (4, 0x7F0000000)]
    assert abs(int(trace.run[trace.page < 4].sum()) - 4000) < 400
    assert trace.header.n_writes == 0


def test_a_readable_report_is_laid_out() -> None:
    trace, _ = imported(READABLE)
    assert [(r.n_pages, r.vpn) for r in trace.header.regions] == [(8, 0)]
    assert trace.n_accesses == 400


def test_snapshots_follow_one_another() -> None:
    trace, _ = imported(RAW + RAW.replace(b"1000-5000(", b"b000-f000("))
    rows = trace.vpn()[trace.page]
    second = rows >= 0xB
    assert np.flatnonzero(second & (rows < 0x10)).min() > np.flatnonzero(rows < 5).max()


def test_a_damaged_event_has_a_place() -> None:
    with pytest.raises(SourceError, match="not a region") as caught:
        imported(EVENT.replace(b"4096-20480", b"4096-20"))
    assert caught.value.pos.line == 1


def test_what_it_is_stands_in_the_header() -> None:
    assert imported(RAW, 7)[0].header.source == "DAMON's text (no recording: drawn, seed 7)"
    with Folder(max_accesses=1) as folder:
        limits = Limits(max_accesses=1)
        _, said = convert(io.BytesIO(MEM_TEXT), "x", folder, limits, lambda *_: None)
    assert said[2].startswith("3 samples")


def test_the_seed_decides() -> None:
    one, same, other = (accesses(imported(RAW, seed)[0]) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_lru_gen_makes_pages_as_old_as_it_says() -> None:
    trace, said = imported(LRU_GEN)
    assert said[1].startswith("NOT A RECORDING")
    assert trace.n_pages == 112
    assert accesses(trace)[:12] == [(page, 0) for page in range(12)]
    assert trace.header.n_writes == 100
    drawn = trace.vpn()[trace.page][112:]
    per_page = np.bincount(drawn.astype(np.intp), minlength=112)
    assert per_page[12:].mean() > per_page[:12].mean()


# -- tables -----------------------------------------------------------------------------------


def parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def test_parquet_without_a_header() -> None:
    frame = pl.DataFrame({"write": [True, False], "page": [5, 9], "run": [3, 1]})
    trace, said = imported(parquet(frame))
    assert accesses(trace) == [(5, 1), (5, 1), (5, 1), (9, 0)]
    assert said == ["x: read as Parquet with a trace's columns"]
    frame = pl.DataFrame({"addr": [0x1FFF, 0x2000], "op": ["W", "load"]})
    assert accesses(imported(parquet(frame))[0]) == [(1, 1), (2, 0)]


def test_a_long_run_is_split() -> None:
    frame = pl.DataFrame({"page": [5], "write": [True], "run": [(1 << 31) - 1]})
    trace, _ = imported(parquet(frame))
    assert trace.n_accesses == (1 << 31) - 1
    with Folder(max_accesses=7) as folder:
        limits = Limits(max_accesses=7)
        convert(io.BytesIO(parquet(frame)), "x", folder, limits, lambda *_: None)
        assert folder.n_accesses == 7


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": [2]}, r"columns \(a, b\) are not those of a trace"),
        ({"page": [-1], "write": [True]}, "not readable"),
        ({"page": [1, None], "write": [True, True]}, "gaps"),
        ({"page": [1], "kind": ["?"]}, "gaps, or values"),
        ({"page": [1 << 52], "write": [True]}, "row 1: the page is above"),
        ({"page": [1], "write": [True], "run": [0]}, "row 1: .*the run is 0"),
    ],
)
def test_parquet_that_is_no_trace(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        imported(parquet(pl.DataFrame(columns)))


def test_damaged_parquet() -> None:
    whole = parquet(pl.DataFrame({"page": [1], "write": [True]}))
    with pytest.raises(InputError, match="x: not readable"):
        imported(whole[:-8])


TEXTS = [text for text, *_ in VECTORS] + [RAW, EVENT, RECORD, READABLE, LRU_GEN]


@given(st.sampled_from(TEXTS), st.data())
@settings(max_examples=600, deadline=None)
def test_damaged_vectors_are_a_trace_or_an_error(text: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(at, min(len(text), at + 30)))
    extra = data.draw(st.binary(max_size=6) | st.sampled_from(TEXTS))
    with contextlib.suppress(InputError, LimitError):
        imported(text[:at] + extra + text[cut:])


WORDS = st.sampled_from(
    [b"|OP", b"LOAD|LVL", b"\n", b" ", b"byte(s)", b"@", b"0x1", b"kvm_page_fault:", b"vcpu",
     b"address", b"error_code", b"rip", b"page-faults:", b"damon_aggregated:", b"4096-8192:",
     b"target_id=0", b"nr_regions=1", b"memcg 1 /\n node 0", b"9", b"page,write\n", b"true",
     b",", b"\0", b"\xff", b'{"regions":[', b"]}", b'{"start":1,"end":"9","nr_accesses":1}']
)  # fmt: skip


@given(st.lists(WORDS, max_size=30).map(b"".join))
@settings(max_examples=600, deadline=None)
def test_words_of_formats_are_a_trace_or_an_error(text: bytes) -> None:
    with contextlib.suppress(InputError, LimitError):
        imported(text)
