"""Train semi-supervised image classifiers with ISDA.

    python run.py --method vat --isda --labels 4000            # the paper's recipe on CIFAR-10
    python run.py --dataset digits --method vat --isda         # one minute, no download
    python run.py export runs/digits-20/vat+isda/seed0         # features.npz, tsne.png

The program itself is ``ssl_isda.cli``; this file starts it in a clone of the repository.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH leaves it out

from ssl_isda.cli import program

if __name__ == "__main__":
    sys.exit(program())
