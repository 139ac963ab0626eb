"""A live Linux host: which aging path its guests get, what that costs, what the fast one lacks.

``files``  the host's own files, or a saved tree of them
``facts``  what they say
``generations``  what the multi-generational LRU lists
``paths``  from the facts to the aging path, with the reasons and what is missing
``costs``  what aging and reclaim cost so far, as far as counters tell
``age``    one aging pass on demand: the only part that writes

Known limits: a distribution that brought a change back to an older kernel is not seen, unless
the kernel's configuration names it. Rules are of mainline versions.
"""
