"""What ``bench/scan.py`` and ``bench/fault_vs_aging.py`` measure: a subject a file.

A subject says how a VM of so many pages is made, what one fault and one pass over it is; the
two programs make the machine, the threads and the table. To add one, write its file and list
it in ``table``.
"""
