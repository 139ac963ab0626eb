"""The engine for what is large: a SAT solver chooses executions, the model's axioms are learnt.

The files in the order in which data flows; each imports from lines above its own, or its own.

=============  ========================================================================
ground         ``solver`` (CaDiCaL), ``gates``, ``words``: literals and words of them
values         ``walk``, ``vector``, ``abstract``, ``circuit``: what a value may be, or is
unrolling      ``waiting``, ``knowledge``, ``possible``, ``blocking``, ``loops``, ``front``:
               from a program to its event graph, by rounds, as far as was found needed
executions     ``facts``, ``expressions``, ``sources``, ``coherence``, ``places``,
               ``candidate``, ``formula``, ``modes``: all executions as clauses
judging        ``layout``, ``relations``, ``fences``, ``causality``, ``grace``, ``visible``,
               ``judge``: the model over one execution, and why it is forbidden
learning       ``shapes``, ``teach``, ``search``: what was told of one, for every other
questions      ``depth``, ``flags``, ``cookies``, ``races``, ``hangs``, ``resting``,
               ``symmetry``, ``breaking``, ``questions``, ``thin_air``, ``picture``, ``engine``
=============  ========================================================================
"""
