"""The world's scenes and their pictures."""
