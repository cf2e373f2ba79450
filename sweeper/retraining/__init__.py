"""One trial trained once more: compared bit for bit, kept as a model, averaged with others.

rerun     trained again, and compared
request   what is asked of the process that trains it, and what it answers
trust     which script may run again
outcome   whether two trainings gave the same numbers
trained   trained once more for its weights: with another seed, for longer
handover  the winner trained for keeps, in a folder to hand over
looks     how often a study has looked at the test set
parts     the parts of a person's script that build its network and its data
ensemble  the best trials' stored models, averaged
"""
