"""Transparent huge pages: areas of the process that one entry maps (``TRANSPARENT_HUGEPAGE``).

``pmd``    faults, splitting the entry, zapping
``split``  splitting the folio

What a large folio is, and where its frames come from, stands in ``mm/large_folio.py`` and
``mm/large_frames.py``; ``MADV_COLLAPSE`` in ``mm/fault/collapse.py``.
"""
