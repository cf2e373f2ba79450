"""A study is opened or taken up; workers claim, train, beat and leave; loggers hear of it.

opening  a study begun, or taken up where it was left
intake   a study out of a database of Optuna's
worker   takes trial after trial until the plan has no more
journal  what a trial writes into the store while it trains
beat     the thread that renews a lease, meters the device and minds timeouts
leave    a worker asked to leave ends its epoch first
loggers  TensorBoard, MLflow, W&B, one's own
"""
