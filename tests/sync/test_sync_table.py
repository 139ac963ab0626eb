"""The table of primitives and the kernel Python that implements its rows fit together."""

import pytest

from mkold.ir.link import implementation
from mkold.ir.prims import PRIMS

ROWS = [row for row in PRIMS.values() if row.native]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_implementation_takes_and_gives_what_the_row_says(row):
    function = implementation(row.native)
    assert len(function.params) == row.n_args
    assert len(function.results) == row.n_dsts


def test_only_rows_of_locks_and_rcu_are_kernel_python():
    assert {row.native.split(":")[0] for row in ROWS} == {
        "mkold.sync.rcu",
        "mkold.sync.rwlock",
        "mkold.sync.spinlock",
        "mkold.sync.srcu",
    }
