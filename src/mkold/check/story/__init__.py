"""A counterexample told to a reader.

``cut``    the events and edges that show what breaks
``words``  an order to read them in, and sentences
"""
