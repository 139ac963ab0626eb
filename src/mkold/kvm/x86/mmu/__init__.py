"""What both MMUs of x86 are made of: entries (``spte``), what a memslot allows, flushes."""
