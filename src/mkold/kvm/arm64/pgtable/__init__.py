"""The stage-2 page tables.

``geometry``  granules, levels, concatenated roots
``pte``       bits of an entry
``tables``    tables, their reference counts, when one is freed
``walk``      the walk with a visitor, and the lookup
``update``    how an entry is changed: shared or alone, break before make
``map``       mapping, and a block in the place of a table
``attr``      permissions and the accessed bit of one leaf; write protection
``free``      what gave way to a block
``unmap``     taking away a range; taking down a tree
``split``     a table in the place of a block
``age``       testing and clearing accessed bits, with the lock and without
"""
