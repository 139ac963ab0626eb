"""The one intermediate form: what kernel Python and C litmus tests become.

The form
    ``nodes``       expressions, statements, functions
    ``prims``       the table of primitives: all that anybody knows of one
    ``algebra``     the operators over anything that stands for a word
    ``access``      what loads, stores and read-modify-writes compute, over any algebra
    ``boot``        the first words of every memory
    ``layout``      where the fields of a struct lie

Programs
    ``definition``  what front ends hand over, a function at a time
    ``module``      the closed program made of it
    ``program``     functions set to run concurrently on an initial memory, with a question
    ``formula``     what the question says of a final state

Looking at it and changing it
    ``flow``        locals surely assigned, ends that are reached
    ``callgraph``   who calls whom, however deep
    ``verify``      the form's rules; run after every pass
    ``text``        prints it
    ``edit``        rewriting bodies, binding build parameters, folding
    ``meaning``     statements that stand for others
    ``variant``     stated changes: a barrier dropped, a primitive swapped
    ``link``        locks, RCU and callbacks put in, to run it on a machine
    ``interpret``   runs it, one CPU alone

Imports only ``mkold.base``. Knows neither Python's nor C's syntax, nor any back end.
"""
