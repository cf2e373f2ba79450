"""What a script finds beside it, and its workers too: the loss after an epoch."""


def loss(lr: float, depth: int, epoch: int) -> float:
    return (lr - 0.01) ** 2 + depth + 1 / (epoch + 1)
