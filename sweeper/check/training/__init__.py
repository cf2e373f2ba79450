"""What a person is told to look at by hand before a network is trained for long, done for them.

Sources: CS231n, "Neural Networks Part 3" (gradient checks, sanity checks); A. Karpathy, "A Recipe for Training Neural
Networks" (2019). Each check is a function of what a training has shown of itself, or of a `Task` that can be trained
again, and says *passes*, *fails* or *cannot tell* (`sweeper.check.finding`).

sightings       what a training shows of itself: examples, calls of the loss, parameters
survey          watches the first epoch of a training that knows nothing of it
hooks           what is set into PyTorch meanwhile, and taken away
forwards        what is known of the examples, by forward passes
calls           what is known of the loss and its labels
parameters      what is known of the parameters
replay          what was watched, as a task that can be done again
examination     every check over what was seen
chance          the first loss against that of guessing
outputs         softmax twice, probabilities where logarithms belong, shapes that broadcast
regularisation  it raises the loss and does not drown the data
overfit         a few examples can be learned by heart
gradients       backward against centred differences, in double precision
movement        every parameter gets a gradient and moves; gradients are zeroed; units differ
steps           the loss of the first epoch stays sound
inputs          scaled, finite
labels          in range, no class missing, in balance, alike in training and validation
split           no validation example was trained on; dropout is off in validation
"""
