"""The one intermediate form: what kernel Python and C litmus tests become.

``nodes``       expressions, statements, functions
``definition``  what front ends hand over, a function at a time
``module``      the closed program made of it
``layout``      where the fields of a struct lie
``prims``       the table of primitives: each one's events under LKMM and native meaning
``program``     functions set to run concurrently on an initial memory, with a question
``verify``      checks the form's rules; run after every pass
``text``        prints it
``edit``        rewriting bodies and binding build parameters
``boot``        the first words of every memory: a map that locks and machine code share

Imports only ``mkold.base``. Knows neither Python's nor C's syntax, nor any back end.
"""
