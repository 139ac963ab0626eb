"""A toy architecture: guest memory is mapped by one flat table of entries.

No hardware is like it. It shows what an architecture is: this folder, and one line that
registers it.
"""
