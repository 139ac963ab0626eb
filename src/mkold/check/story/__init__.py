"""A counterexample told to a reader.

``anchors``  the events that carry the broken property
``steps``    program order and communication, as a graph
``past``     the edges between threads that led there
``cut``      the events and edges that are shown
``order``    an order to read them in
``naming``   names of words, values and lines
``words``    sentences
``explain``  all of it: a breach and its story
"""
