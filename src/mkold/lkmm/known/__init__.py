"""What reads may find: known while a program is unrolled, and of a graph as a whole."""
