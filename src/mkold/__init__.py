"""mkold: a workbench for lockless page aging in hypervisors.

One source (kernel Python), three readings: run it natively, prove it against the
Linux-kernel memory model, price it.
"""

__version__ = "0.1.0"
