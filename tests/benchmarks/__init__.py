"""Speed of a training step and of its parts, each against the least that it could take.

    python -m tests.benchmarks
    python -m tests.benchmarks --only step isda --width 0.25 --rounds 20
    python -m tests.benchmarks --only step isda loss --device cuda --json figures.json

Ours and a reference run in one process, alternately (A B, B A, A B, ...), after a warm-up. A ratio is
ours / reference of one round; the table quotes the median over the rounds with the quartiles. On one
CPU thread the clock is the process's CPU time, which other programs disturb least; elsewhere it is
the wall clock, on a GPU with ``torch.cuda.synchronize`` around each measurement.

``networks`` has every network, or those of ``--models``, with supervised steps; the others have CNN-13.
``step``, ``isda``, ``loss``, ``full_run`` and ``networks`` need nothing but torch and numpy.
"""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # PyTorch's profiler would write into the table
