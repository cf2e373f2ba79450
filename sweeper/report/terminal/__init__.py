"""What a terminal shows, drawn with rich; computed in `analysis`.

live       where the live view is drawn: its trials; footer: what stands below; plain: lines for a pipe or a log
watch      `sweeper status --watch`
standing   `sweeper status`; crew: its workers and devices
summary    a sweep's last lines
tables     rows as tables as wide as the terminal
sheet      one trial; comparison: several
stages     from coarse to fine; borders: the verdicts on ranges
causes     what went wrong; diagnosed: what the curves say
confirmed  what repeats say of the best
history    workers and events; studies: all of a store
checkup    `sweeper check` and `sweeper doctor`; ramp: the learning rate's range test
members    `sweeper ensemble`
"""
