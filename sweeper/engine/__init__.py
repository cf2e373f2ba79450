"""A study is opened or taken up; workers claim, train, beat, leave; loggers hear of it.

opening   a study begun, or taken up where it was left
ancestor  the best settings of an older study, to begin with
intake    a study of Optuna's taken over
worker    takes trial after trial until the plan has no more
crew      workers as a task for any launcher, and as processes of this machine
journal   what a trial writes into the store while it trains
beat      the thread that renews a lease, meters the device and minds timeouts
leave     how a worker is asked to leave
loggers   TensorBoard, MLflow, W&B, one's own
"""
