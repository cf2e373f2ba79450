"""This computer: devices and slots, meters, environment, and the supervisor that keeps one process a slot alive.

devices      which GPUs there are, and which slot a worker gets
meters       load and memory of a device, measured with each beat
environment  versions of what a training depends on
supervisor   one process a slot: started, watched, started again, asked to leave
"""
