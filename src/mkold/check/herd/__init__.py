"""A case as a litmus test, for herd7.

``straighten``  no calls, no loops, no pointers
``export``      written, read back, compared, kept
"""
