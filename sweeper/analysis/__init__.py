"""What can be known of a study, as numbers: computed here, shown in `report`.

progress    where it stands, and what the budget has been spent on
timeleft    how long it will still take, as a range
digest      all that the page shows
timeline    who trained what, when
accounts    where the workers' time went, to the second
columns     trials as columns; frames: as typed DataFrames
selection   which trials a question is about; condition: `--where`
borders     the border verdicts of a study as it is now
importance  which parameter matters how much
curves      the metric by epochs, of many trials
axes        what a plot's axis spans
places      where the ranges lie
lookout     what is new since the last look
diagnosis   what the curves say
"""
