"""Traces that other tools recorded: one reader a file, one table.

``door``        from a file of any of them into a trace
``table``       the formats, and how an input's is told by its content
``strangers``   what is refused, by name
``compressed``  gzip, bzip2, xz and zstd undone on the way
``reading``     blocks of lines, wrong lines shown, what is noted
``block``       lines and words of a block, and the numbers in them, by NumPy
``shape``       formats of one access a line, said by their fields
``records``     formats of free text, in which some words tell where an access is
``rows``        tables with a trace's columns
``synthetic``   traces drawn from distributions

Imports only ``mkold.base`` and the accesses of ``mkold.trace``.
"""
