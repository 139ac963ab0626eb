"""What becomes of a page of the process: faults, and giving it up.

``memory``   page faults: zero page, copy on write, swap-in
``madvise``  ``MADV_DONTNEED``
"""
