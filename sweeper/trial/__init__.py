"""What a training script holds: the handle, its checkpoints with every random state, when a training is lost, and the
command that trains it again.

handle      `current_trial()`: params, epochs, reports; alone, a stand-in
checkpoint  written so that no kill can spoil it, verified before it is loaded
state       what a checkpoint holds: model, optimizer, loader, and every random generator
divergence  when a training is lost
"""
