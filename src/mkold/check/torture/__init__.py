"""A scenario on real threads, many times over.

``code``    the kernel Python that resets the memory and notes outcomes
``image``   a scenario as machine code
``native``  rounds, and a watch over them
``run``     the comparison with what the model allows
"""
