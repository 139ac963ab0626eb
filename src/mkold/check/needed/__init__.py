"""Which ordering primitives are needed.

``weaker``  the weaker forms of a primitive
``held``    the cases to try them in
``answer``  each is tried at each place, and the place gets its answer
"""
