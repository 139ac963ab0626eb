"""HPTEs: the two words of an entry of the hash table, and where a page's entry may lie.

======  ==============  ==================================================================
word    mask            name
======  ==============  ==================================================================
V       bits 61:7       ``HPTE_V_AVPN``: the virtual page, without the bits that the place tells
V       0x40            ``HPTE_V_HVLOCK``: the hypervisor's lock on the entry
V       0x20            ``HPTE_V_ABSENT``: the guest's entry, not mapped now
V       0x10 2 1        ``HPTE_V_BOLTED``, ``HPTE_V_SECONDARY``, ``HPTE_V_VALID``
R       63 and 3        ``HPTE_R_PP0``, ``HPTE_R_PP``: protection
R       bits 59:12      ``HPTE_R_RPN``: frame (in ``guest_rpte``: guest page)
R       0x100 0x80      ``HPTE_R_R``, ``HPTE_R_C``: in bytes 1 and 0, counted from the lowest
======  ==============  ==================================================================

The table is made of groups (PTEGs). A page's hash names its primary group, the complement its
secondary one. The guest maps its memory from address 0 on in segments of 256 MiB; a segment's
number is scrambled into its VSID, so that the segments spread over the groups.

Sources: Power ISA 2.07B, Book III-S, 5.7.7; arch/powerpc/include/asm/book3s/64/mmu-hash.h.
Known limits: the entry format before ISA 3.0 (to which the hypervisor converts); one page
size a guest, frames numbered in pages whatever its size; no keys and no WIMG.
"""

from __future__ import annotations

from mkold.lang import kernel, parameter, u64

HPTE_V_AVPN_SHIFT = 7
HPTE_V_AVPN = (1 << 62) - (1 << HPTE_V_AVPN_SHIFT)
HPTE_V_HVLOCK = 0x40
HPTE_V_ABSENT = 0x20
HPTE_V_BOLTED = 0x10
HPTE_V_SECONDARY = 0x2
HPTE_V_VALID = 0x1

HPTE_R_PP0 = 1 << 63
HPTE_R_RPN_SHIFT = 12
HPTE_R_RPN = (1 << 60) - (1 << HPTE_R_RPN_SHIFT)
HPTE_R_R = 0x100
HPTE_R_C = 0x80
HPTE_R_PP = 0x3
HPTE_R_PROTECTION = HPTE_R_PP0 | HPTE_R_PP
HPTE_R_OTHERS = (1 << 64) - 1 - HPTE_R_PROTECTION  # all but the protection
HPTE_GR_MODIFIED = 1 << 62  # in guest_rpte: changed since somebody last looked

PP_RWRW = 2
PP_RXRX = 3

# log2 of the HPTEs in a group.
HPTE_GROUP_SHIFT = parameter("HPTE_GROUP_SHIFT", 3)
# log2 of the pages in a segment, and how many low bits of the page AVPN leaves out: with 4 KiB
# pages 16 and 11, with 64 KiB pages 12 and 7.
HPT_SEGMENT_SHIFT = parameter("HPT_SEGMENT_SHIFT", 16)
HPT_AVPN_DROPPED = parameter("HPT_AVPN_DROPPED", 11)

# Not 0: the bit of a virtual page's number by which the guest has a second name for each page.
HPT_ALIAS = parameter("HPT_ALIAS", 0)

HASH_4K = {"HPT_SEGMENT_SHIFT": 16, "HPT_AVPN_DROPPED": 11}
HASH_64K = {"HPT_SEGMENT_SHIFT": 12, "HPT_AVPN_DROPPED": 7}
# One group of two entries, and an AVPN that says all.
HASH_SMALL = {"HPTE_GROUP_SHIFT": 1, "HPT_AVPN_DROPPED": 0, "HPT_ORDER": 5}

VSID_MASK = (1 << 38) - 1
VSID_MULTIPLIER = 0x278DDE6E6D
VSID_INVERSE = pow(VSID_MULTIPLIER, -1, 1 << 38)


@kernel
def name_gfn(name: u64) -> u64:
    """The guest page that the guest's kernel calls ``name``."""
    return name & ~HPT_ALIAS


@kernel
def hpt_vpn(gfn: u64) -> u64:
    """The virtual page through which the guest's kernel reaches its page ``gfn``, which may
    be a second name."""
    vsid = ((gfn >> HPT_SEGMENT_SHIFT) * VSID_MULTIPLIER) & VSID_MASK
    return (vsid << HPT_SEGMENT_SHIFT) | (gfn & ((1 << HPT_SEGMENT_SHIFT) - 1))


@kernel
def vpn_gfn(vpn: u64) -> u64:
    """The other way round."""
    segment = ((vpn >> HPT_SEGMENT_SHIFT) * VSID_INVERSE) & VSID_MASK
    return (segment << HPT_SEGMENT_SHIFT) | (vpn & ((1 << HPT_SEGMENT_SHIFT) - 1))


@kernel
def hpt_hash(vpn: u64) -> u64:
    """Which group is the primary one, before it is cut to the table's size."""
    return (vpn >> HPT_SEGMENT_SHIFT) ^ (vpn & ((1 << HPT_SEGMENT_SHIFT) - 1))


@kernel
def hpte_encode_avpn(vpn: u64) -> u64:
    """The virtual page as V holds it."""
    return (vpn >> HPT_AVPN_DROPPED) << HPTE_V_AVPN_SHIFT


@kernel
def hpte_vpn(v: u64, index: u64) -> u64:
    """The virtual page of the entry at ``index``: AVPN, and the bits that the place tells."""
    vpn = ((v & HPTE_V_AVPN) >> HPTE_V_AVPN_SHIFT) << HPT_AVPN_DROPPED
    group = index >> HPTE_GROUP_SHIFT
    if v & HPTE_V_SECONDARY:
        group = ~group
    low = group ^ (vpn >> HPT_SEGMENT_SHIFT)
    return vpn | (low & ((1 << HPT_AVPN_DROPPED) - 1))


@kernel
def hpte_matches(v: u64, avpn: u64, secondary: u64) -> u64:
    """Whether ``v`` is the entry of the page encoded as ``avpn`` in such a group, mapped or
    not."""
    mine = (v & (HPTE_V_AVPN | HPTE_V_SECONDARY)) == (avpn | secondary)
    return mine and (v & (HPTE_V_VALID | HPTE_V_ABSENT)) != 0


@kernel
def hpte_rpn(r: u64) -> u64:
    """The page number in R, or in ``guest_rpte``."""
    return (r & HPTE_R_RPN) >> HPTE_R_RPN_SHIFT


@kernel
def hpte_is_writable(r: u64) -> u64:
    """Whether R lets the guest write."""
    protection = r & HPTE_R_PROTECTION
    return protection != PP_RXRX and protection != (HPTE_R_PP0 | PP_RWRW)


@kernel
def hpte_make_readonly(r: u64) -> u64:
    """R with no permission to write."""
    return (r & HPTE_R_OTHERS) | PP_RXRX
