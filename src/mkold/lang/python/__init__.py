"""Python's syntax for a kernel language: ``@kernel`` and what it reads.

``objects``      what a module's names stand for: primitives, functions, parameters
``annotations``  types as annotations, evaluated by us
``structs``      ``Struct``
``source``       finds a function's syntax tree; positions of nodes
``refuse``       why each construct outside the subset is refused
``frame``        one function while it is read: the builder, and the module's names
``names``        what a name stands for, as a value or a place
``calls``        calls: whose arguments are read how
``expressions``  all other expressions
``loops``        ``while``, ``for ... in range(...)``
``statements``   all other statements
``decorate``     ``@kernel``, ``@hook``: a whole function
``text``         kernel Python given as text

What any of it means is in ``meaning``. Each file uses those above it.
"""
