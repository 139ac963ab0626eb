"""The partition-scoped radix tree.

``age``         the fast path and the slow path of aging
``pte``         bits and geometry        ``pte_update``  atomic updates of an entry
``walk``        lookups                  ``tables``      tables: allocation and free
``create``      putting a mapping in     ``unmap``       taking mappings away
``fault``       guest page faults        ``dirty``       the dirty log
``hw``          the MMU's walk, R and C, the TLB
"""
