"""The world's scenes and how they are drawn."""
