"""AMP's tables (arXiv 2405.11165) on the embedded world: many trainings, one evaluation, paired differences."""
