"""The form as LLVM IR text.

``codegen``     functions, control flow, calls
``writer``      one function being written: locals, expressions, failing
``lines``       ... its text
``arithmetic``  the operators
``accesses``    each primitive's instructions: loads, stores, fences, checks
``place``       ... where in memory one goes
``updates``     ... read-modify-writes
``vectors``     ... many words at once
``checks``      ... what the checked build looks at
``runtime``     the few lines that every image holds
``sites``       places that can fail
"""
