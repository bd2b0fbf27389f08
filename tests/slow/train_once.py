"""Train the throwaway model on ladders that are there: `python -m tests.slow.train_once FOLDER OUT SETTINGS`, alone or
under torchrun."""

import json
import sys
from pathlib import Path

from seelevel import load_ladders
from seelevel.training.fit import fit
from seelevel.training.settings import AlignSettings


def main():
    folder, out, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    base = str(folder / "base")
    fit(load_ladders(folder / "ladders.parquet"), base, AlignSettings(model=base, **settings), out, seed=5)


if __name__ == "__main__":
    main()
