"""Random programs, what they mean with their loops written out, and engines held together.

``tree``         programs as trees of statements, in no language yet
``random_tree``  trees by chance, by ``themes`` or in ``shapes``
``render``       a tree as kernel Python, or as a C litmus test
``sample``       a program by kind and number: its source, and what engines decide
``written_out``  loops written out, calls put in their place, waits that may be given up
``stopping``     how a written-out thread stops on the way
``brute``        every execution of a written-out program, one by one
``compare``      what must be equal, and what is not
``known``        programs made by hand
``shrink``       the least program that still differs
"""
