"""An ensemble out of a study's stored checkpoints: chosen on the validation set, looked at once on the test set, kept
as a folder that predicts.

    sweeper ensemble --top 10
    sweeper.load_ensemble("runs/digits/ensemble")(x)

Nothing is trained but further seeds that a person asks for, and nothing is unpickled.
"""

from __future__ import annotations

from sweeper.retraining.ensemble.candidates import Candidate, Kind, with_seeds
from sweeper.retraining.ensemble.election import TOP, Built, Member, make, script_of
from sweeper.retraining.ensemble.folder import load_ensemble

__all__ = ["TOP", "Built", "Candidate", "Kind", "Member", "load_ensemble", "make", "script_of", "with_seeds"]
