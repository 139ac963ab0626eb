"""The relations and axioms of linux-kernel.cat, over masks of candidates."""
