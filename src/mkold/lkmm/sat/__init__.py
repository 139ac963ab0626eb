"""The engine for what is large: a SAT solver chooses executions, the model's axioms are learnt.

In the order data flows: ``solver`` (CaDiCaL behind three methods), ``gates`` and ``words``
(values as circuits).
"""
