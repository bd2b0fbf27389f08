"""The training core: ladders packed into rows, log-probabilities, objectives, the trainer."""
