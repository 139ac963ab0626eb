"""What is expected of the claims about the shadow MMU; see ``test_check_verdicts``."""

from __future__ import annotations

# What breaks in each case; an empty text: the case holds.
BROKEN = {
    "90-listed-is-live": {
        "as written, the only table": "",
        "as written, the only table, no A/D": "",
        "as written, one of two tables": "",
        "as written, a new table": "",
        "the ager without the bit": "data-race use-after-free",
        "the zapper without the bit": "data-race use-after-free",
        "the zapper without the bit, two tables": "data-race null-dereference use-after-free",
        "the table freed with its SPTEs listed": "data-race use-after-free",
        "the bit taken without acquire": "data-race null-dereference use-after-free",
        "the reader lets go without release": "data-race null-dereference use-after-free",
        "the writer lets go without release, of a new table": "data-race use-before-init",
    },
    "91-order-of-removal": {
        "out of the chain first": "",
        "out of the chain first, no A/D": "",
        "out of the chain first, the table is freed": "",
        "as written": "",
        "as written, no A/D": "",
        "as written, aged by WRITE_ONCE": "brought-back",
        "out of the chain first, aged by WRITE_ONCE": "",
    },
    "92-mapped-before-listed": {
        "as written": "young-missed",
        "listed first": "",
    },
    "93-word-put-back": {
        "as written, a chain begins": "",
        "as written, a chain grows": "",
        "the bit taken by a read and a write": "listing-lost",
        "the bit taken by a read and a write, a chain grows": "head-lost",
        "readers do not let go": "hang listing-lost",
    },
    "94-readers-exclude": {
        "a page that is mapped": "",
        "a page that is not": "data-race",
    },
    "95-aging-an-spte": {
        "clear_bit, against a write": "",
        "clear_bit, against protection": "",
        "clear_bit, against removal": "",
        "clear_bit, against a fast page fault": "",
        "no A/D: cmpxchg, against protection": "",
        "no A/D: cmpxchg, against removal": "",
        "no A/D: cmpxchg, against a fast page fault": "",
        "read, then write, against a write": "dirty-lost",
        "read, then write, against protection": "protection-lost",
        "read, then write, against removal": "brought-back",
        "no A/D: a true exchange, against protection": "protection-lost",
        "no A/D: a true exchange, against removal": "brought-back",
        "no A/D: WRITE_ONCE, against protection": "protection-lost",
        "no A/D: WRITE_ONCE, against removal": "brought-back",
        "no A/D: a plain store, against protection": "data-race protection-lost",
        "no A/D: a plain store, against removal": "data-race brought-back",
        "no A/D: compare, then write, against protection": "protection-lost",
        "no A/D: compare, then write, against removal": "brought-back",
    },
    "96-young-lost-by-the-host": {
        "as written": "young-lost",
        "W cleared by an atomic AND": "",
    },
    "97-gate-without-acquire": {
        "as in Linux": "data-race null-dereference",
        "the count marked": "data-race null-dereference",
        "the count loaded by an acquire, but marked only": "data-race null-dereference",
        "the count released and acquired, as TSO does": "",
        "shadow_root_allocated acquired as well": "",
    },
    "98-walk-and-free": {
        "as written": "",
        "as written, no A/D": "",
        "no barrier in the walk": "data-race use-after-free",
        "a release in the walk": "data-race use-after-free",
        "no barrier in the request": "data-race use-after-free",
        "the walk ends without release": "data-race use-after-free",
        "no flush before the table is freed": "data-race use-after-free",
        "the freer does not wait": "data-race use-after-free",
    },
    "100-table-not-writable": {
        "as written": "",
        "before 7c8a4742c4ab": "table-writable",
    },
    "101-dirty-after-cmpxchg": {
        "as written": "",
        "the log told first": "unlogged",
    },
    "102-large-step": {
        "as in Linux": "young-missed",
        "steps to the next boundary": "",
    },
}

VERDICTS = {
    "90-listed-is-live": "holds",
    "91-order-of-removal": "refuted",
    "92-mapped-before-listed": "holds",
    "93-word-put-back": "holds",
    "94-readers-exclude": "holds",
    "95-aging-an-spte": "holds",
    "96-young-lost-by-the-host": "holds",
    "97-gate-without-acquire": "holds",
    "98-walk-and-free": "holds",
    "100-table-not-writable": "holds",
    "101-dirty-after-cmpxchg": "holds",
    "102-large-step": "refuted",
}
