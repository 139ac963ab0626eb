"""What the statements and expressions of a kernel language mean, without any syntax.

A front end walks its own syntax and calls these with positions (``base.errors.Pos``); what
comes out is the intermediate form. Any number of front ends may share it, and call each
other's functions.

``source``      a file's lines: errors with a caret
``values``      a word that was computed, a place in memory, the results of a call
``builder``     one function while it is built: blocks, locals, what it uses
``convert``     what may go where, and C's conversions
``arithmetic``  operators, comparisons
``places``      fields, elements, loads and stores, addresses, locals
``calls``       primitives, functions, pointers to functions
``control``     branches, short circuits, loops and jumps
``function``    a whole function: parameters, results, checks; the finished definition

Each file uses those above it.
"""
