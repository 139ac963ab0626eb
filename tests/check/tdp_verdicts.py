"""What is expected of the claims about the TDP MMU; see ``test_check_verdicts``."""

from __future__ import annotations

# What breaks in each case; an empty text: the case holds.
BROKEN = {
    "60-tracked-blindly": {
        "a blind clear, against unmap": "brought-back",
        "a blind clear, against fast fault": "half-an-entry",
        "an exchange, against unmap": "brought-back",
        "an exchange, against unmap and fault": "stale-frame",
        "WRITE_ONCE, against unmap": "brought-back",
        "WRITE_ONCE, against unmap and fault": "stale-frame",
        "a plain store, against unmap": "data-race brought-back",
        "a plain store, against unmap and fault": "data-race stale-frame",
    },
    "61-tracked-by-one-cas": {
        "one compare-and-swap, against unmap": "",
        "one compare-and-swap, against unmap and fault": "",
        "one compare-and-swap, against fast fault": "",
        "a blind clear, against unmap": "brought-back",
        "a blind clear, against unmap and fault": "stale-frame",
        "a blind clear, against fast fault": "half-an-entry",
    },
    "62-just-the-accessed-bit": {
        "an atomic AND (6.15), against unmap": "",
        "an atomic AND (6.15), against unmap and fault": "",
        "an atomic AND (6.15), against hardware": "",
        "an atomic AND (6.15), against hardware and unmap": "",
        "a compare-and-swap, against unmap": "",
        "a compare-and-swap, against unmap and fault": "",
        "a compare-and-swap, against hardware": "",
        "a compare-and-swap, against hardware and unmap": "",
        "clear_bit (v2), against unmap and fault": "",
        "clear_bit (v2), against hardware": "",
        "EPT without the bit, by an AND, against unmap": "",
        "EPT without the bit, by an AND, against unmap and fault": "",
        "EPT without the bit, by an AND, against fast fault": "",
        "read, then write, against hardware": "dirty-lost",
        "an exchange, against unmap": "brought-back",
        "an exchange, against unmap and fault": "stale-frame",
        "an exchange, against hardware": "dirty-lost",
        "an exchange, against hardware and unmap": "brought-back",
        "WRITE_ONCE, against unmap": "brought-back",
        "WRITE_ONCE, against unmap and fault": "stale-frame",
        "WRITE_ONCE, against hardware": "dirty-lost",
        "WRITE_ONCE, against hardware and unmap": "brought-back",
    },
    "63-exchange-what-changes": {
        "as written": "",
        "a store, as before the fix": "dirty-lost",
    },
    "64-write-protection": {
        "as written": "",
        "what is not writable is skipped, as before the fix": "writable",
        "fast page fault by read, then write": "writable",
    },
    "65-clear-dirty-of-leaves": {
        "as written": "",
        "no check, as before the fix": "table-not-writable",
    },
    "66-unlogged-writes-protected": {
        "as written": "",
        "D is cleared, as before the fix": "write-not-migrated",
    },
    "67-unmap-from-all-roots": {
        "as written": "",
        "valid roots alone, as before the fix": "data-race write-after-free",
    },
    "68-yield-with-a-reference": {
        "as written": "",
        "without a reference, as before the fix": "data-race use-after-free wild-address",
    },
    "69-yield-skips-no-page": {
        "as written": "",
        "goes on behind it, as before the fix": "page-skipped",
    },
    "70-yield-after-the-flush": {
        "as written": "",
        "the flush forgotten, as before the fix": "data-race use-after-free",
    },
    "71-flush-all-of-an-entry": {
        "as written": "",
        "from the fault's page on, as before the fix": "stale-translation",
    },
    "72-obsolete-root": {
        "as written": "",
        "no check, as before the fix": "mapped-after-zap",
    },
    "73a-unfrozen": {
        "0x5a0": "unfrozen",
        "0x498, as was proposed": "",
        "aged by a compare-and-swap": "",
    },
    "73b-mapped-in-a-dead-table": {
        "0x5a0": "mapped-in-a-dead-table",
        "0x498, as was proposed": "",
        "aged by a compare-and-swap": "",
    },
    "74a-table-made-old": {
        "by an atomic AND": "table-made-old",
        "by a compare-and-swap": "",
    },
    "74b-table-made-old-is-harmless": {
        "as written": "",
    },
    "75-mmio-generation": {
        "by an atomic AND": "generation-changed",
        "no other bit": "",
        "by a compare-and-swap": "",
    },
    "76-dirty-after-the-cas": {
        "as written": "",
        "EPT without A/D": "",
        "logging starts meanwhile": "",
        "marked before": "write-not-migrated",
    },
    "77-dirty-before-the-map": {
        "as written": "",
        "mapped without mmu_lock": "write-not-migrated",
    },
    "78-log-by-dirty-bits": {
        "as written": "",
        "aged meanwhile": "",
        "no flush": "write-not-migrated",
    },
    "79-tables-and-roots-freed": {
        "ager, a table gives way to a large leaf": "",
        "fast page fault, a table gives way to a large leaf": "",
        "ager, a root loses its last reference": "",
        "ager, all roots are zapped": "",
        "ager, table freed at once": "data-race use-after-free",
        "fast page fault, table freed at once": "data-race use-after-free",
        "ager, root freed at once": "data-race poison-address use-after-free",
        "ager without a read section": "data-race use-after-free",
    },
    "80-flushed-before-free": {
        "as written": "",
        "flush behind the read section": "data-race use-after-free",
        "no flush": "data-race use-after-free",
    },
    "81-fault-retries": {
        "as written": "",
        "no check of the counter": "stale-mapping",
        "counter read after the frame may be": "stale-mapping",
    },
    "82-invalid-roots-need-no-flush": {
        "as written": "",
        "vCPUs are told, and not waited for": "data-race use-after-free",
    },
    "83-refused-with-shadow-roots": {
        "v2": "",
        "6.15, which looks at shadow entries beside": "answered",
    },
    "84-recover-against-protect": {
        "both at once": "writable",
    },
}

VERDICTS = {
    "60-tracked-blindly": "holds",
    "61-tracked-by-one-cas": "holds",
    "62-just-the-accessed-bit": "holds",
    "63-exchange-what-changes": "holds",
    "64-write-protection": "holds",
    "65-clear-dirty-of-leaves": "holds",
    "66-unlogged-writes-protected": "holds",
    "67-unmap-from-all-roots": "holds",
    "68-yield-with-a-reference": "holds",
    "69-yield-skips-no-page": "holds",
    "70-yield-after-the-flush": "holds",
    "71-flush-all-of-an-entry": "holds",
    "72-obsolete-root": "holds",
    "73a-unfrozen": "holds",
    "73b-mapped-in-a-dead-table": "holds",
    "74a-table-made-old": "holds",
    "74b-table-made-old-is-harmless": "holds",
    "75-mmio-generation": "holds",
    "76-dirty-after-the-cas": "holds",
    "77-dirty-before-the-map": "holds",
    "78-log-by-dirty-bits": "holds",
    "79-tables-and-roots-freed": "holds",
    "80-flushed-before-free": "holds",
    "81-fault-retries": "holds",
    "82-invalid-roots-need-no-flush": "holds",
    "83-refused-with-shadow-roots": "holds",
    "84-recover-against-protect": "holds",
}
