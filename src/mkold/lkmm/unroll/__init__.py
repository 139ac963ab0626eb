"""From a program to its event graph."""

from mkold.lkmm.unroll.rounds import unroll

__all__ = ["unroll"]
