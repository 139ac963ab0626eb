"""Claims about code that no architecture is part of."""
