"""What a training script holds: the handle, its checkpoints, the command that trains it again.

handle      `current_trial()`: params, epochs, reports; alone, a stand-in
checkpoint  written so that no kill can spoil it, verified before it is loaded
state       what a checkpoint holds: model, optimizer, loader, and every random generator
divergence  when a training is lost
failure     why a training ended
overrides   parameters in Hydra's grammar, and a trial's config as its study stored it
output      the running Hydra job and its folder: the only file here that knows Hydra
command     the line that trains a trial again
"""
