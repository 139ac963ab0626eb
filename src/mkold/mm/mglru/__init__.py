"""The multi-generational LRU: who is evicted, and how pages get younger.

``generations``  numbers, lists, merging
``walk``         an aging pass
``young``        64 pages' accessed bits at once: here the aging paths part
``evict``        eviction
``look_around``  eviction asks for a page, and looks at its neighbours
``bloom``        the filters that tell the aging walk which tables are worth a look
"""
