"""The TDP MMU: page tables for second-level translation, changed by many at a time.

``pages``  tables born and freed   ``roots``   the VM's roots, valid and invalid
``iter``   walks, and yielding     ``change``  an entry changes, and a table goes
``map``    a fault's page          ``huge``    splitting and recovering large leaves
``zap``    unmapping               ``dirty``   write protection and the dirty log
``age``    accessed bits
"""
