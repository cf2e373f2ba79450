"""Tools for training scripts, on torch and NumPy alone.

They know nothing of sweeps, stores and Hydra: each takes tensors and plain settings, so that a script uses the ones
it likes.

choices          look a name of the config up among what can be built, with an error that lists the known ones
data             examples, their split into train, validation and test, and what training may see of it
scaling          zero mean and unit spread, or from 0 to 1, fitted on the training set alone
augmentation     images flipped, moved, turned, scaled, cropped and noisy, a batch at a time
batches          shuffled batches out of memory, with a generator that a checkpoint can hold
goals            classification and regression: the loss and the score of each
losses           what is trained instead: smoothed or weighted classes, MAE, Huber
activations      the nonlinearities by name
initialisation   first weights that fit the nonlinearity
models           MLP and CNN, with batch normalisation and dropout
optimizers       PyTorch's own, by name, from plain SGD to L-BFGS
schedules        PyTorch's own learning-rate schedules, by name, behind a warm-up
clipping         of gradients, by norm or by value
regularisation   L1, L2, max-norm, and which weights they concern
averaging        EMA and SWA: an average of the weights, evaluated in their place
stopping         early, with the best weights
loop             train one epoch, evaluate
monitors         what a network does while it trains, as numbers for a report: what `sweeper diagnose` goes by
lr_range         the learning-rate range test, on any function
weights          a model's weights alone, in a file that runs no code
whole            all that may be trained on, for a setting that is chosen
ensembles        trained models that answer as one
learner          all of these for one training, from one config
task             what a script whose loss cannot be seen gives to `sweeper check`
checks           the old way to `sweeper.Task`, until 0.2
"""
