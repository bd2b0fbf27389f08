"""What a text says: its noun chunks, the objects it mentions, and its place in an encoder's space."""
