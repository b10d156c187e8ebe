"""What a run starts from: weights drawn from its seed, those of a file, or those of another run."""

from __future__ import annotations

from pathlib import Path

from scaling.errors import Complaint, UserError
from scaling.model.roles import Params
from scaling.store.records import JobRun
from scaling.store.weights import identity, load
from scaling.train.saved import weights_of


def start_of(member: JobRun) -> int | Params:
    """Return the seed of a run, or its initial weights on the host.

    Raises:
        UserError: the weights are not there any more, damaged, or other ones than were planned.
    """
    run = member.run
    if run.init_from is None:
        return run.seed
    if member.start is None:
        hint = "run again; if its last checkpoint was removed, delete the folder of that run first"
        raise UserError(Complaint(f"job.json does not say where {run.init_from} lies", hint=hint))
    place = Path(member.start)
    if not run.init_from.startswith("sha256:"):
        return weights_of(place, run.shape)
    arrays = load(place)
    if (now := identity(arrays)) != run.init_from:
        message = f"has other weights than were planned: {now}, not {run.init_from}"
        raise UserError(Complaint(message, str(place), "run again: that plans runs that start from these"))
    return arrays
