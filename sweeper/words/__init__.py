"""The nouns, and how the house talks: records, errors, seeds, how a number is written.

The ground floor: every room may import it, and it imports none.

records  what crosses every seam: a study, a trial, its lease, one epoch's report
settings what a person may ask of a sweep: each with its type, default and meaning
laws     what a setting's value must be
errors   what a person can act on: the law, the values that broke it, the cure
source   the code that trains, as a study keeps it
seeds    seeds that follow from a seed and a path of names
metrics  which metrics are monitors'
numbers  numbers, times, sizes, counts and curves as a person writes them
text     as every store, file and terminal can hold it
program  how this program is called from the shell that it was started in
version  of this package, said once
"""
