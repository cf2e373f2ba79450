"""All that may be trained on, for a setting that is chosen: nothing is left to validate on.

def data(cfg):
    found = …
    return whole(found) if cfg.get("full_data") else found
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sweeper.training.data import Data, Examples

KEY = "full_data"
"""The config's key that asks for it."""


def whole(data: Data) -> Data:
    """The validation set joins the training set; the scaling stays that of the training set, as in the search.

    `val` is there as before, so that a script can report it, but says nothing of unseen examples any more. The test set
    stays apart.
    """
    parts = (data.train, data.val)
    joined = Examples(torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts]))
    return replace(data, train=joined)
