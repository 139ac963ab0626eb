"""The command line: one module per verb, found through the table in ``main``.

A verb's module has ``HELP`` (one sentence), ``prepare_parser(parser)``, which adds its
options and must import nothing heavy, and ``run(args) -> int``, which does the work,
imports what it needs and returns an exit code. Bad input raises ``MkoldError``.
"""
