"""Hostile input, and faults of the machine: what mkold must not break at.

``ran``       a verb run, and what must never be seen of it
``mutate``    bytes changed at random, with a format's own words put in
``inputs``    mutated litmus tests, traces and recordings, in this process
``claims``    mutated claims files: arguments of every kind in every place
``machine``   signals at random times, full disks, workers killed, little memory
"""
