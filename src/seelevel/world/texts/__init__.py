"""The world's texts: captions, questions, instructions, data sets."""
