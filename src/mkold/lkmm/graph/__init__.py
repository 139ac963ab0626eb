"""The event graph of a program: values, guards, and the events that can be."""
