"""``python -m tests.train.exhausted HOST JOB_FOLDER``: trains as ``python -m scaling.train`` does, but
this one of its hosts runs out of memory, at the third chunk with whole batches."""

import os
import sys
from itertools import count
from pathlib import Path

from scaling.train import lanes
from scaling.train.__main__ import main

real, calls = lanes.advance, count(1)


def advance(program, *rest):
    pieces = program.blueprint.lowering.micro_batches
    if os.environ["SCALING_HOST"] == sys.argv[1] and pieces == 1 and next(calls) > 2:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7 bytes.")
    return real(program, *rest)


lanes.advance = advance
sys.exit(main(Path(sys.argv[2])))
