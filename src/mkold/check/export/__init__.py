"""A case as a litmus test, for herd7.

``places``       names that C allows
``values``       values and guards as expressions
``thread``       a thread's events as statements
``straighten``   no calls, no loops, no pointers
``litmus_text``  written, read back, compared, kept
"""
