"""What is wrong: with a script, with a store, its workers and its checkpoints.

A script is looked over before a sweep as it stands: nothing needs to be written into it. It runs in fresh processes,
with its own overrides. There `sweeper.current_trial()` gives a trial without an end, and PyTorch is watched
(`ramp`, `training`): so any script that trains with PyTorch can be looked over, also one that knows nothing of
`sweeper`. It leaves nothing behind.

script     the script, its overrides, and what its config says of the sweep
checkup    all of it, and what was found
child      in the fresh process: trains under a watch
result     what such a process leaves for the one that has asked
finding    what a check says; the doctor's too
rates      the learning rate's range, in a fresh process
ramp       the rate raised under a training, and who is told of every backward pass and step
corners    the ends of the search space: do they run, do they fit
stopwatch  seconds and memory of a moment of training
cost       the time of the whole plan
training   the checks of the training itself
doctor     a store, its studies and the machine looked over
"""

from sweeper.check.checkup import Checkup, Wish, check_script
from sweeper.check.child import child
from sweeper.check.rates import LrCheck, Ramp, lr_of_script
from sweeper.check.script import CHILD, REQUEST

__all__ = ["CHILD", "REQUEST", "Checkup", "LrCheck", "Ramp", "Wish", "check_script", "child", "lr_of_script"]
