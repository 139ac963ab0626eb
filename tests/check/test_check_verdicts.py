"""The verdict of every claim that ships, and what each of its cases breaks.

Expectations live here alone: nothing under ``src`` knows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import arm64_verdicts
import pytest
import shadow_verdicts
import tdp_verdicts

from mkold.check import Claim, load
from mkold.check.decide import decide_claim
from mkold.check.result import ClaimResult

# What breaks in each case; an empty text: the case holds.
BROKEN = {
    "1-no-use-after-free": {
        "as written": "",
        "as written, two walkers": "",
        "without synchronize_rcu()": "data-race use-after-free",
    },
    "2-no-use-before-init": {
        "as written": "",
        "without smp_wmb()": "data-race use-before-init",
        "without smp_rmb()": "data-race use-before-init",
        "with neither": "data-race use-before-init",
    },
    "3a-grace-period-for-barriers": {
        "synchronize_rcu() for smp_wmb(), no smp_rmb()": "",
    },
    "3b-barrier-regardless": {
        "synchronize_rcu() for smp_wmb(), no smp_rmb()": "",
    },
    "4-ways-to-clear": {
        "pte_xchg, against hardware and unmap": "",
        "pte_xchg, against unmap and fault": "",
        "pte_xchg, against hardware": "",
        "kvmppc_radix_update_pte, against hardware and unmap": "",
        "kvmppc_radix_update_pte, against unmap and fault": "",
        "kvmppc_radix_update_pte, against hardware": "",
        "a true exchange, against hardware and unmap": "brought-back dirty-lost",
        "a true exchange, against unmap and fault": "stale-frame",
        "a true exchange, against hardware": "dirty-lost",
        "WRITE_ONCE, against hardware and unmap": "brought-back dirty-lost",
        "WRITE_ONCE, against unmap and fault": "stale-frame",
        "WRITE_ONCE, against hardware": "dirty-lost",
        "a plain store, against hardware and unmap": "data-race brought-back dirty-lost",
        "a plain store, against unmap and fault": "data-race stale-frame",
        "a plain store, against hardware": "data-race dirty-lost",
        "read, then write, against hardware and unmap": "brought-back dirty-lost",
        "read, then write, against unmap and fault": "stale-frame",
        "read, then write, against hardware": "dirty-lost",
    },
    "5a-cmpxchg-can-fail": {
        "pte_xchg": "left-set",
        "kvmppc_radix_update_pte": "",
    },
    "5b-nothing-is-lost": {
        "young page, pte_xchg": "",
        "access between two passes, pte_xchg": "",
        "access between two passes, kvmppc_radix_update_pte": "",
    },
    "6-plain-mode-flag": {
        "flag read and written plainly": "data-race",
        "as written": "",
    },
    "7a-recycled-table-harmless": {
        "pte_xchg": "",
        "kvmppc_radix_update_pte": "",
        "a true exchange": "other-page-changed",
        "WRITE_ONCE": "other-page-changed",
        "read, then write": "other-page-changed",
    },
    "7b-recycled-table-touched": {
        "typesafe slab, kvmppc_radix_update_pte": "other-page-touched",
        "typesafe slab, pte_xchg": "other-page-touched",
        "freed by RCU": "",
    },
    "8-step-skips-a-page": {
        "stepping as posted": "page-skipped",
        "as written here": "",
    },
    "9-page-count-warning": {
        "against the switch to HPT": "",
        "against a huge page, tables freed by RCU": "",
        "against a huge page, typesafe slab": "",
        "switch without synchronize_rcu()": "warn-on",
        "tables freed at once": "warn-on",
    },
    "10-retry-counter": {
        "as written": "",
        "no check of the counter": "stale-mapping",
        "counter raised without release, host change under its page-table lock": "",
        "counter raised without release, host change under no lock": "stale-mapping",
        "counter read after the frame may be": "stale-mapping",
        "counter read by a plain load": "data-race stale-mapping",
    },
    "11-stale-tlb": {
        "as written": "",
        "no flush": "data-race use-after-free",
        "no barrier on the way into the guest": "data-race use-after-free",
        "out of the guest without release": "data-race use-after-free",
    },
    "12-gates-agree": {
        "POWER8, bare metal, hash": "",
        "POWER8, guest of PowerVM or KVM, hash": "",
        "POWER9 or later, bare metal, radix": "",
        "POWER9 or later, bare metal, hash": "",
        "POWER9 or later, guest (kvmhv_on_pseries), radix": "",
        "POWER9 or later, guest, hash": "",
    },
    "13-nested-guest-missed": {
        "as posted: no test for L2 guests": "l2-access-missed",
        "as written here: refused, so the slow path decides": "",
    },
    "14-passes-side-by-side": {
        "two lockless passes": "",
        "two lockless passes, kvmppc_radix_update_pte": "",
        "a locked and a lockless pass": "",
    },
    "16-tables-and-frames-published": {
        "walk while tables are linked in": "",
        "hardware while tables are linked in": "",
        "guest while a new frame is mapped": "",
        "two faults at one missing table": "",
    },
    "17-tables-and-frames-taken": {
        "walk while a table is collapsed": "",
        "guest writes while its page is swapped out": "",
    },
    "18-dirty-log": {
        "guest writes while the log is fetched": "",
        "unmap while the log is fetched": "",
    },
    "19-notifier-life": {
        "aging while a VM subscribes": "",
        "aging while a VM unsubscribes": "",
    },
    "20-vcpus-stopped": {"guest while the mode is switched": ""},
    "21-the-range-and-no-more": {"a range that ends within tables": ""},
    "22-hash-locks-no-deadlock": {
        "H_REMOVE and unmapping": "",
        "H_REMOVE and aging": "",
        "H_CLEAR_REF and aging": "",
        "unmapping waits for the HPTE": "hang",
        "aging waits for the HPTE": "hang",
    },
    "23-hash-locks-exclude": {
        "two entries for one page": "",
        "H_REMOVE of a page that is unmapped": "",
        "H_CLEAR_REF of a page that is aged": "",
        "HPTE let go by a bare store: H_REMOVE": "data-race guest-dirty-lost",
        "HPTE let go by a bare store: aging": "data-race",
        "rmap let go by a bare store": "data-race ring-broken",
    },
    "24-hash-referenced-kept": {
        "unmapping": "",
        "H_REMOVE": "",
        "aging": "",
        "aging, and H_REMOVE of a young entry": "",
        "unmapping, R read before the tlbie": "referenced-lost",
        "H_REMOVE, R read before the tlbie": "referenced-lost",
    },
    "25-hash-changed-kept": {
        "unmapping": "",
        "H_REMOVE": "",
        "dirty log while the guest runs": "",
        "dirty log after the vCPUs stopped": "",
        "unmapping, C read before the tlbie": "dirty-lost",
        "H_REMOVE, C read before the tlbie": "dirty-lost",
        "dirty log, no tlbie": "write-not-migrated",
        "dirty log after the vCPUs stopped, C = 0 trusted": "dirty-lost",
    },
    "26-byte-stores-of-r-and-c": {
        "two vCPUs set bits": "",
        "aging clears R while C is set": "",
        "hardware that stores words": "changed-lost",
        "aging that stores a word": "changed-lost",
    },
    "27-h-enter-vs-invalidate": {
        "H_ENTER": "",
        "a fault at an ABSENT entry": "",
        "a write fault at a mapped entry": "",
        "H_ENTER, counter checked before the rmap's lock": "stale-mapping",
        "fault, counter may be read after the frame": "stale-mapping",
    },
    "28-hardware-sees-whole-entries": {
        "H_ENTER": "",
        "no eieio": "half-entered access-undone",
        "V before R": "half-entered access-undone",
    },
    "29-protect-keeps-read-only": {
        "H_PROTECT and a fault": "",
        "H_PROTECT gives what is asked for": "shared-page-writable",
    },
    "30-freed-under-a-notifier": {
        "unmapping, in the kernel's order": "use-after-free",
        "aging, in the kernel's order": "use-after-free",
        "aging, rmap words reset first": "",
        "unmapping, rmap words reset first": "",
        "unmapping, the same size, in the kernel's order": "ghost-entry",
        "unmapping, the same size, reset first": "",
    },
    "31-fast-path-refuses-hash": {
        "while the VM leaves radix mode": "",
        "in hash mode": "",
        "it does not look, while radix mode is left": "data-race use-after-free",
        "it does not look, in hash mode": "young-missed",
    },
    "32-switches-with-all-at-work": {
        "aging while the VM leaves hash mode": "",
        "dirty log while the VM leaves hash mode": "",
        "dirty log while the VM leaves radix mode": "",
        "guest while the VM leaves hash mode": "",
        "a fault while the VM leaves hash mode": "",
        "aging, no mmu_lock": "use-after-free",
        "guest, vCPUs not stopped": "data-race null-dereference use-after-free use-before-init",
    },
    "40-rmap-is-just-a-list": {
        "one release store: an entry becomes a list": "",
        "one release store: a list grows": "",
        "Linux's stores: becomes a list": "entry-missed",
        "Linux's stores: grows": "",
        "one store, no release": "data-race poison-address use-before-init entry-missed",
    },
    "41-nested-aging-and-lists": {
        "a second guest maps the page": "",
        "L1's entry not looked at again": "second-young-alone",
    },
    "42-aged-between-two-steps": {
        "L1's entry looked at again": "",
        "as in Linux": "shadow-young-alone",
    },
    "43-aged-inside-a-huge-leaf": {
        "the list of the leaf's first page": "",
        "as in Linux": "shadow-young-alone",
    },
    "44-tlbie-for-all-guests": {
        "with a reference": "",
        "as in Linux: without": "data-race hang poison-address use-after-free",
    },
    "45-refusing-is-not-enough": {
        "a grace period before the first guest": "",
        "without": "shadow-young-alone",
    },
    "46-clear-in-the-order-of-setting": {
        "no barrier": "shadow-young-alone",
        "smp_mb() in both": "shadow-young-alone",
    },
    "47-set-the-shadow-first": {
        "smp_wmb() in both": "",
        "smp_mb() in both": "",
        "no barrier": "shadow-young-alone",
    },
    "48-who-sets-r": {
        "hardware that faults": "",
        "hardware that sets R": "shadow-young-alone",
    },
    "49-taken-from-l2-too": {
        "as written": "",
        "no retry check": "",
        "no retry check, L1's entry not looked at again": "shadow-left",
    },
    "50-lockless-never-idle": {
        "first access": "",
        "next access": "",
        "another guest maps the page": "",
        "another guest, not set again": "second-young-alone",
        "first access, L1's R not set again": "shadow-young-alone",
        "first access, without smp_wmb()": "shadow-young-alone",
        "next access, L1's R set first": "shadow-young-alone",
        "next access, without smp_wmb()": "shadow-young-alone",
    },
    "51-lockless-no-use-after-free": {
        "the page is taken": "",
        "L1 flushes its guest": "",
        "L1 ends its guest": "",
        "the VM goes to hash mode": "",
        "the VM goes to hash mode, freed at once": "data-race use-after-free",
        "the page is taken, freed at once": "data-race use-after-free",
        "L1 flushes its guest, freed at once": "data-race use-after-free",
        "L1 ends its guest, freed at once": "data-race poison-address use-after-free",
    },
    "52-lockless-dirty-bit": {
        "pte_xchg": "",
        "WRITE_ONCE": "dirty-lost",
    },
    "53-no-guest-out-of-radix": {
        "entered under mmu_setup_lock": "",
        "entered without it": "guest-in-hash-mode",
    },
    "54-leaf-in-its-slot": {
        "as in Linux": "past-the-slot",
        "the slot's bounds are asked": "",
    },
    "33-pr-never-young": {
        "asked through a gate that is open": "",
        "the missing operation is called": "bad-call answered",
    },
    "34-pr-unmaps": {
        "a fault and an unmap": "",
        "the guest's own flush and an unmap": "",
        "scan without a read section": "data-race poison-address use-after-free",
    },
    "35-gate-on-every-platform": {
        "POWER8, bare metal, hash; HV": "",
        "POWER8, bare metal, hash; PR": "",
        "POWER8, bare metal, hash; HV and PR": "",
        "POWER8, guest, hash; HV": "",
        "POWER8, guest, hash; PR": "",
        "POWER8, guest, hash; HV and PR": "",
        "POWER9, bare metal, radix; HV": "",
        "POWER9, bare metal, radix; PR": "",
        "POWER9, bare metal, radix; HV and PR": "",
        "POWER9, bare metal, hash; HV": "",
        "POWER9, bare metal, hash; PR": "",
        "POWER9, bare metal, hash; HV and PR": "",
        "POWER9, guest, hash; HV": "",
        "POWER9, guest, hash; PR": "",
        "POWER9, guest, hash; HV and PR": "",
        "POWER9, guest, radix, no nesting; HV": "",
        "POWER9, guest, radix, no nesting; PR": "",
        "POWER9, guest, radix, no nesting; HV and PR": "",
        "POWER9, guest, radix, nested API v1; HV": "",
        "POWER9, guest, radix, nested API v1; PR": "",
        "POWER9, guest, radix, nested API v1; HV and PR": "",
        "POWER10, guest, radix, nested API v2; HV": "",
        "POWER10, guest, radix, nested API v2; PR": "",
        "POWER10, guest, radix, nested API v2; HV and PR": "",
    },
}

VERDICTS = {
    "1-no-use-after-free": "holds",
    "2-no-use-before-init": "holds",
    "3a-grace-period-for-barriers": "holds",
    "3b-barrier-regardless": "refuted",
    "4-ways-to-clear": "holds",
    "5a-cmpxchg-can-fail": "holds",
    "5b-nothing-is-lost": "holds",
    "6-plain-mode-flag": "refuted",
    "7a-recycled-table-harmless": "holds",
    "7b-recycled-table-touched": "holds",
    "8-step-skips-a-page": "holds",
    "9-page-count-warning": "holds",
    "10-retry-counter": "holds",
    "11-stale-tlb": "holds",
    "12-gates-agree": "holds",
    "13-nested-guest-missed": "holds",
    "14-passes-side-by-side": "holds",
    "16-tables-and-frames-published": "holds",
    "17-tables-and-frames-taken": "holds",
    "18-dirty-log": "holds",
    "19-notifier-life": "holds",
    "20-vcpus-stopped": "holds",
    "21-the-range-and-no-more": "holds",
    "22-hash-locks-no-deadlock": "holds",
    "23-hash-locks-exclude": "holds",
    "24-hash-referenced-kept": "holds",
    "25-hash-changed-kept": "holds",
    "26-byte-stores-of-r-and-c": "holds",
    "27-h-enter-vs-invalidate": "holds",
    "28-hardware-sees-whole-entries": "holds",
    "29-protect-keeps-read-only": "holds",
    "30-freed-under-a-notifier": "holds",
    "31-fast-path-refuses-hash": "holds",
    "32-switches-with-all-at-work": "holds",
    "40-rmap-is-just-a-list": "holds",
    "41-nested-aging-and-lists": "holds",
    "42-aged-between-two-steps": "holds",
    "43-aged-inside-a-huge-leaf": "holds",
    "44-tlbie-for-all-guests": "holds",
    "45-refusing-is-not-enough": "holds",
    "46-clear-in-the-order-of-setting": "refuted",
    "47-set-the-shadow-first": "holds",
    "48-who-sets-r": "holds",
    "49-taken-from-l2-too": "holds",
    "50-lockless-never-idle": "holds",
    "51-lockless-no-use-after-free": "holds",
    "52-lockless-dirty-bit": "holds",
    "53-no-guest-out-of-radix": "holds",
    "54-leaf-in-its-slot": "refuted",
    "33-pr-never-young": "holds",
    "34-pr-unmaps": "holds",
    "35-gate-on-every-platform": "holds",
}

BROKEN |= shadow_verdicts.BROKEN | tdp_verdicts.BROKEN | arm64_verdicts.BROKEN
VERDICTS |= shadow_verdicts.VERDICTS | tdp_verdicts.VERDICTS | arm64_verdicts.VERDICTS

# Seconds of processor time that no case may take; the slowest takes about a tenth.
LIMIT_S = 10.0

CLAIMS = {claim.name: claim for claim in load.shipped()}
OWN_LOCKS = sorted(name for name in CLAIMS if name.startswith("15"))
SLOW = (
    "7a", "7b", "9", "11", "15a", "15b", "16", "20", "22", "23", "24", "27", "29", "30", "32",
    "34", "35", "44", "50", "51", "53", "60", "61", "62", "68", "71", "73b", "76", "77", "79",
    "82", "90", "91", "92", "93", "95", "97", "98", "99", "103", "111", "114", "115", "116",
    "119", "122", "129",
)  # fmt: skip


def each(names: Iterable[str]) -> list[Any]:
    """Claims by name; those that take longest are slow."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name.partition("-")[0] in SLOW else [])
        for name in names
    ]


@pytest.fixture(scope="module")
def decided() -> dict[str, ClaimResult]:
    """Each claim is decided once."""
    return {}


def result_of(claim: Claim, decided: dict[str, ClaimResult]) -> ClaimResult:
    if claim.name not in decided:
        decided[claim.name] = decide_claim(claim)
    return decided[claim.name]


def test_every_claim_has_an_expectation() -> None:
    assert sorted(CLAIMS) == sorted([*VERDICTS, *OWN_LOCKS])
    for name, cases in BROKEN.items():
        assert [case.label for case in CLAIMS[name].cases] == list(cases)


def test_what_is_left_out_decides_nothing() -> None:
    quick = {claim.name: claim for claim in load.quick(CLAIMS.values())}
    left_out = 0
    for name, claim in CLAIMS.items():
        kept = [case.label for case in quick[name].cases]
        gone = [case for case in claim.cases if case.label not in kept]
        assert not any(case.decides for case in gone)
        left_out += len(gone)
    assert left_out > 0


@pytest.mark.parametrize("name", each(VERDICTS))
def test_the_verdict(name: str, decided: dict[str, ClaimResult]) -> None:
    assert result_of(CLAIMS[name], decided).verdict == VERDICTS[name]


@pytest.mark.parametrize("name", each(BROKEN))
def test_what_each_case_breaks(name: str, decided: dict[str, ClaimResult]) -> None:
    for case in result_of(CLAIMS[name], decided).cases:
        broken = BROKEN[name][case.label]
        assert " ".join(case.broken) == broken, case.label
        assert case.status == ("counterexample" if broken else "holds"), case.label
        assert case.cpu_s < LIMIT_S, case.label


@pytest.mark.parametrize("name", each(BROKEN))
def test_each_counterexample_can_be_shown(name: str, decided: dict[str, ClaimResult]) -> None:
    for case in result_of(CLAIMS[name], decided).cases:
        for breach in case.breaches:
            assert breach.execution is not None, (case.label, breach.property)


@pytest.mark.parametrize("name", each(OWN_LOCKS))
def test_locks_and_rcu_of_our_own(name: str) -> None:
    result = decide_claim(CLAIMS[name])
    assert result.verdict == "holds"
    for case in result.cases:
        assert case.status == ("holds" if case.decides else "counterexample"), case.label
