"""What the lock and RCU primitives are made of natively, in kernel Python.

``queue``     the ticket queue in a lock word's upper half
``spinlock``  spin_lock, spin_trylock, spin_unlock
``rwlock``    read_lock, write_lock
``rcu``       rcu_read_lock, synchronize_rcu, call_rcu
``srcu``      srcu_read_lock, synchronize_srcu

The memory model has its own notion of these primitives (``mkold.ir.prims``); the code
here is what they cost and is itself explored by the checker for a few threads.
"""
