"""The C litmus front end: herd's dialect of C, read into the intermediate form.

``parse(text, file)`` and ``read(path)`` give an ``ir.program.Program``; ``write(program)``
gives the text back; ``result_comment(text)`` the author's expected result.

Pipeline: ``sections`` cuts the text, ``initial`` reads the initial state, ``body`` (on
``expr`` and ``macros``) lowers each thread, ``condition`` reads the question. The reader is
written by hand: reading and lowering an ordinary test takes about half a millisecond,
where a generated LALR parser needs 2 ms for reading alone.
"""

from mkold.litmus.parse import parse, read, result_comment
from mkold.litmus.source import UnsupportedSourceError
from mkold.litmus.write import write

__all__ = ["UnsupportedSourceError", "parse", "read", "result_comment", "write"]
