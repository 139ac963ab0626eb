"""The engine ``masks``: all candidate executions of a choice of paths at once."""
