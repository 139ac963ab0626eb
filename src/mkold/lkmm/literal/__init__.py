"""The engine ``literal``: one execution at a time, relations as sets of pairs."""
