"""The doors in Python and Hydra: run, load_study, --multirun; the watch while it runs.

run       `sweeper.run`
multirun  what the Hydra plugin does
config    the composed config frozen at the start, and one for each trial
gate      the script looked over before a sweep
watch     starts workers, watches the store until the study is over
study     a study in Python: frames, best trials, pictures
"""
