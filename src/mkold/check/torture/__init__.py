"""A scenario on real threads, many times over.

``code``  the kernel Python that resets the memory and notes outcomes
``run``   rounds, and the comparison with what the model allows
"""
