"""This computer: devices and slots, meters, environment, the supervisor of one process a slot.

devices      which GPUs there are, and which slot a worker gets
meters       load and memory of a device, measured with each beat
environment  what can move a training's last digits: versions, threads, processor
supervisor   one process a slot: started, watched, started again, asked to leave
"""
