"""A case as a litmus test, for herd7.

``straighten``   no calls, no loops, no pointers
``litmus_text``  written, read back, compared, kept
"""
