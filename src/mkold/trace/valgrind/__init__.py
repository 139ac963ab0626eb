"""Recording under valgrind.

``record``   runs a program under lackey and folds what it prints
``pipe``     what lackey prints of one process
``logs``     what it prints of a process and all that it starts
``watch``    which other programs are started, seen from outside
"""
