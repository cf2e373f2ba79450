"""What can be known of a study, as numbers.

Computed here and drawn in `report`, often by a file of the same name.

progress      where it stands now; standing: the same as data
lookout       curves, stages, ranges and verdicts of a study that runs
timeleft      how long it will still take, as a range
history       its workers and events
accounts      where its workers' time went, to the second
columns       trials as flat columns; frames: as typed DataFrames
selection     which trials a question is about; condition: `--where`
sheet         one trial
comparison    several, side by side
places        where a trial's parameters lie in their ranges
causes        what went wrong
commands      the lines that train its best trials again
confirmation  what repeats say of the best; confirmed: of a stored study's
borders       the verdicts on its ranges
stages        from coarse to fine
studies       all of a store
digest        what the page's plots are made of: axes, curves, importance, timeline
diagnosed     what its curves say, by diagnosis
"""
