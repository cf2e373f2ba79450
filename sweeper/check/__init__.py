"""A person's training script looked over before a sweep, as it stands: nothing needs to be written into it.

It runs in fresh processes, with its own overrides. There `sweeper.current_trial()` gives a trial without an end, and
PyTorch is watched (`sweeper.check.ramp`, `sweeper.check.training`): so any script that trains with PyTorch can be
looked over, also one that knows nothing of `sweeper`. It leaves nothing behind.

script     the script, its overrides, and what its config says of the sweep
child      in the fresh process: trains under a watch
rates      the learning rate's range
stopwatch  seconds and memory of a moment of training
corners    the ends of the search space: do they run, do they fit
cost       the time of the whole plan
checkup    all of it
gate       before a sweep
"""

from sweeper.check.checkup import Checkup, Wish, check_script
from sweeper.check.child import child
from sweeper.check.rates import LrCheck, Ramp, lr_of_script
from sweeper.check.script import CHILD, REQUEST

__all__ = ["CHILD", "REQUEST", "Checkup", "LrCheck", "Ramp", "Wish", "check_script", "child", "lr_of_script"]
