"""Trackers that a study's curves are sent to, as a user writes them: names are those of each library."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from scaling.recipe.quantities import Described
from scaling.recipe.rules import by_kind

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class WandbTracker(Described):
    """Weights & Biases."""

    kind: Literal["wandb"]
    project: Name | None = None
    """Left out: WANDB_PROJECT, else the study."""
    entity: Name | None = None
    """User or team. Left out: WANDB_ENTITY, else your own."""
    group: Name | None = None
    """Group of all runs. Left out: the study."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """auto: WANDB_MODE, else online where you are logged in, else offline."""
    dir: Name | None = None
    """Folder for its files. Left out: WANDB_DIR, else `trackers` in the results folder."""


class TensorBoardTracker(Described):
    """TensorBoard."""

    kind: Literal["tensorboard"]
    dir: Name | None = None
    """Folder with a folder of event files for each run. Left out: `trackers/tensorboard` in the results
    folder."""


class TrackioTracker(Described):
    """Trackio."""

    kind: Literal["trackio"]
    project: Name | None = None
    """Left out: the study."""
    group: Name | None = None
    """Group of all runs. Left out: the study."""
    space_id: Name | None = None
    """Hugging Face Space to log to, which needs a login. Left out: TRACKIO_SPACE_ID, else this machine."""
    dir: Name | None = None
    """Folder for its database. Left out: TRACKIO_DIR, else its own, which `trackio show` reads."""


AnyTracker = WandbTracker | TensorBoardTracker | TrackioTracker
TRACKERS = by_kind(AnyTracker)
WrittenTracker = Annotated[AnyTracker, Field(discriminator="kind")]
