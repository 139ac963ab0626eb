"""Recording under valgrind.

``record``   runs a program under lackey and reads what it prints
"""
