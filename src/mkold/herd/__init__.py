"""A litmus test decided, and answered in herd7's words.

``lines``   the question, and final states that fit in memory
``faults``  tests of which nothing can be said
``states``  final states by the million
``job``     one file, read, decided and worded, as a job for a worker
"""

SCHEMA = "mkold.litmus/1"  # of the JSON lines
