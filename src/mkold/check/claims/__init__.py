"""The claims that ship: one module a theme, each with a list ``CLAIMS``.

``_vm`` builds the small machine that most of them start from.
"""
