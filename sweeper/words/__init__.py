"""The nouns, and how the house talks: records of study, trial, lease and epoch; errors; seeds; how a number is written.

The ground floor: every room may import it, and it imports none.

records  what crosses every seam: a study, a trial, its lease, one epoch's report
errors   what a person can act on: the law, the values that broke it, the cure
source   the code that trains, as a study keeps it
seeds    seeds that follow from a seed and a path of names
numbers  numbers, times, sizes and curves as a person writes them
"""
