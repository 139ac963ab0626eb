"""What is expected of the claims about arm64's stage 2; see ``test_check_verdicts``."""

from __future__ import annotations

# What breaks in each case; an empty text: the case holds.
BROKEN = {
    "110-unmapped-tables-by-rcu": {
        "second version: RCU, freed by RCU": "",
        "third version: read lock, freed at once": "",
        "upstream: write lock, freed at once": "",
        "RCU, freed at once": "data-race use-after-free",
        "no read section, freed by RCU": "data-race use-after-free",
        "third version without the lock, freed at once": "data-race use-after-free",
    },
    "111-collapsed-tables-by-rcu": {
        "RCU": "",
        "read lock and RCU": "",
        "read lock, no read section": "data-race use-after-free",
        "RCU, the table freed at once": "data-race use-after-free",
    },
    "112-root-freed-with-the-vm": {
        "RCU": "use-after-free",
        "read lock": "",
        "RCU, a grace period once the root is gone": "",
    },
    "113-new-table-published": {
        "a fault, with the lock for reading": "",
        "a walk that is alone": "",
        "a fault, no release": "",
        "a fault, a plain store": "data-race use-before-init",
        "alone, no release": "data-race use-before-init",
    },
    "114-locked-marker": {
        "as written": "",
        "a broken entry is just empty": "mapping-lost miscounted",
    },
    "115-the-marker-is-the-accessed-bit": {
        "the bit, against two visits to the entry": "miscounted",
        "the bit, against one fault": "",
        "cmpxchg, against two visits to the entry": "",
        "cmpxchg, against one fault": "",
    },
    "116-flush-before-free": {
        "as written": "",
        "freed by RCU": "",
        "deferred, as before": "data-race use-after-free",
        "deferred, freed by RCU": "data-race use-after-free",
    },
    "117-stale-tlb": {
        "as written": "",
        "no flush": "data-race use-after-free",
    },
    "118-collapse-flushes-it-all": {
        "as written": "",
        "one page flushed, as before": "data-race use-after-free",
    },
    "119-books-of-a-collapse": {
        "as written": "",
        "a sibling's fault fills the table meanwhile": "",
        "counted without a grace period, and a sibling": "data-race use-after-free warn-on "
        "write-after-free table-leaked",
        "the last reference is kept, as before f6a27d6dc51b": "table-leaked",
        "one reference too many is taken, as before 5c646b7e1d8b": "root-miscounted",
    },
    "120-read-again-after-a-visit": {
        "as written, without RCU": "",
        "not read again": "use-after-free",
    },
    "121-no-sleep-in-a-walk": {
        "as written": "",
        "taken in the walk": "sleep-in-atomic",
    },
    "122-frame-by-address": {
        "as written": "",
        "frames counted": "wrong-frame",
    },
    "123-loser-flushes-too": {
        "as written": "",
        "who loses the race does not flush": "faults-again",
    },
    "124-size-after-the-counter": {
        "as written": "",
        "the counter is read when the size is known": "stale-size",
    },
    "125-every-leaf-of-the-range": {
        "as written": "",
        "one leaf, as before": "young-missed",
    },
    "126-store-on-every-fault": {
        "as written": "",
        "unset": "poison-address use-before-init",
    },
    "127-taken-down-in-steps": {
        "as fixed": "",
        "at once": "",
        "a step frees tables that are not empty": "double-free use-after-free wild-address",
    },
    "128-failed-cmpxchg-needs-no-retry": {
        "against the hardware": "",
        "against another pass": "",
        "against permissions relaxed by a fault": "",
        "an exchange, against permissions": "permission-lost",
    },
    "129-unmapped-stays-unmapped": {
        "against unmap": "",
        "against unmap and fault": "",
        "against split": "",
        "against a pass with the lock": "",
        "an exchange, against split": "not-split",
        "an exchange, against unmap": "brought-back",
        "a store, against unmap": "brought-back",
        "a store, against unmap and fault": "stale-frame",
    },
    "130-wrprotect-makes-young-again": {
        "second version": "young-again",
        "write protection by cmpxchg": "",
        "third version": "",
    },
    "131-wrprotect-undoes-an-access": {
        "as upstream": "access-lost",
        "write protection by cmpxchg": "",
    },
    "132-protection-holds": {
        "second version": "",
        "third version": "",
        "an exchange": "writable-again",
        "a store": "writable-again",
        "write protection by one cmpxchg": "writable-again",
    },
    "133a-same-entry-again": {
        "second version": "fresh-cleared",
        "third version": "",
    },
    "133b-and-no-access-is-lost": {
        "second version": "",
    },
    "134-seen-now-or-next": {
        "access between two passes": "",
        "and write protection": "access-lost",
    },
    "135-access-flag-faults": {
        "a fault between two passes": "",
        "both kinds": "",
        "a fault against unmap": "",
        "a fault without mmu_lock, against unmap": "data-race use-after-free",
    },
    "136-retry-under-read-lock": {
        "as written": "",
        "no check of the counter": "stale-size stale-frame",
        "counter read after the frame may be": "stale-size stale-frame",
        "counter read by a plain load": "data-race stale-size stale-frame",
    },
    "137-gate": {
        "software sets it": "",
        "CPUs of both kinds": "",
        "pKVM": "",
        "pKVM, third version": "",
        "upstream": "",
        "hardware sets it": "opens",
        "third version, software sets it": "opens",
    },
    "138-dirty-log": {
        "a page that the TLB lets be written": "",
        "a write fault": "",
        "not protected again": "write-not-migrated",
        "no flush": "write-not-migrated",
        "the fault's page is not marked": "write-not-migrated",
    },
    "139-nested-guests-are-not-aged": {
        "a vCPU runs a guest of the guest": "l2-access-missed",
    },
}

VERDICTS = {
    "110-unmapped-tables-by-rcu": "holds",
    "111-collapsed-tables-by-rcu": "holds",
    "112-root-freed-with-the-vm": "holds",
    "113-new-table-published": "holds",
    "114-locked-marker": "holds",
    "115-the-marker-is-the-accessed-bit": "refuted",
    "116-flush-before-free": "holds",
    "117-stale-tlb": "holds",
    "118-collapse-flushes-it-all": "holds",
    "119-books-of-a-collapse": "holds",
    "120-read-again-after-a-visit": "holds",
    "121-no-sleep-in-a-walk": "holds",
    "122-frame-by-address": "holds",
    "123-loser-flushes-too": "holds",
    "124-size-after-the-counter": "holds",
    "125-every-leaf-of-the-range": "holds",
    "126-store-on-every-fault": "holds",
    "127-taken-down-in-steps": "holds",
    "128-failed-cmpxchg-needs-no-retry": "holds",
    "129-unmapped-stays-unmapped": "holds",
    "130-wrprotect-makes-young-again": "holds",
    "131-wrprotect-undoes-an-access": "holds",
    "132-protection-holds": "holds",
    "133a-same-entry-again": "holds",
    "133b-and-no-access-is-lost": "holds",
    "134-seen-now-or-next": "holds",
    "135-access-flag-faults": "holds",
    "136-retry-under-read-lock": "holds",
    "137-gate": "holds",
    "138-dirty-log": "holds",
    "139-nested-guests-are-not-aged": "refuted",
}
