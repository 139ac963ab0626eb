"""From a program to its event graph."""

from mkold.lkmm.unroll.unroller import unroll

__all__ = ["unroll"]
