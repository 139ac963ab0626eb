"""A second front end, in tests only: s-expressions over ``mkold.lang.meaning``.

``read``   text to a tree of lists, numbers and names, each with its place
``lower``  the tree to definitions, by ``mkold.lang.meaning``

It exists to show what a front end takes: these two files. Native code, the interpreter and
the checker take what it makes as they take kernel Python, and each may call the other's
functions.
"""
