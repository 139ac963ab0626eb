"""Which ordering primitives are needed.

``weaker``  the weaker forms of a primitive
``answer``  each is tried at each place, and the place gets its answer
"""
