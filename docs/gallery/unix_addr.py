"""Unix sockets: the address is published before it is written, and read with no order.

``bind()`` fills in a new address and the socket's path, then sets the pointer. ``getname()``
takes no lock.

    mkold check docs/gallery/unix_addr.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import Ptr, Struct, kernel, smp_load_acquire, smp_store_release, u64

SOURCE = (
    'commit ae3b564179bf ("missing barriers in some of unix_sock ->addr and ->path accesses")'
)
SENTENCE = "Who sees the address sees all that bind() wrote before."


class Addr(Struct):
    len: u64


class UnixSock(Struct):
    addr: Ptr[Addr]
    path: u64


@kernel
def unix_bind(u: Ptr[UnixSock], addr: Ptr[Addr]) -> None:
    addr.len = 3
    u.path = 7
    smp_store_release(u.addr, addr)


@kernel
def unix_getname(u: Ptr[UnixSock]) -> u64:
    addr = smp_load_acquire(u.addr)
    if not addr:
        return 21
    return addr.len * u.path


def bind_and_getname(m: Setup) -> None:
    u, addr = m.new(UnixSock, "u"), m.raw(Addr.size)
    m.name("addr.len", addr)
    m.thread("bind", (unix_bind, u, addr))
    m.thread("getname", (unix_getname, u))
    m.never("half", lambda end: end.result("getname") != 21, "getname() sees half an address.")


SCENARIO = Scenario("unix", bind_and_getname)
STORE = (Swap("unix_bind:smp_store_release", "WRITE_ONCE"),)
LOAD = (Swap("unix_getname:smp_load_acquire", "READ_ONCE"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("release and acquire", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("published by WRITE_ONCE", SCENARIO, STORE),
            Case("read by READ_ONCE", SCENARIO, LOAD),
        ),
    ),
]
