"""The types that a front end gives to words, and where structs keep their fields.

``words``    numbers of 8 to 64 bits, with and without a sign; C's conversions between them
``structs``  pointers, arrays, structs, pointers to functions; what goes where

No syntax here: a front end reads its own declarations into these.
"""
