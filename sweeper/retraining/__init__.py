"""One trial trained once more: compared bit for bit, kept as a model, averaged with others.

rerun     trained again, and compared
outcome   whether two trainings gave the same numbers
trained   trained again with another seed, or on all data
handover  the best setting trained for keeps, in a folder to hand over
looks     how often a study has looked at the test set
script    the parts of a person's script that build its network and its data
ensemble  the best trials' stored models, averaged
"""
