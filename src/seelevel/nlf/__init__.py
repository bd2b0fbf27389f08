"""Natural-language feedback (DRESS, arXiv 2311.10081): a judge's word on answers, and conversations on it."""
