"""What to try next: space and grammar, plan, borders, samplers, confirmation. Everything that speaks Optuna lives here.

space         parameters with their scale, ranges and limits
grammar       Hydra's override grammar as a space
plan          how the budget is spent, stage by stage
ranges        how ranges move
borders       whether the best values crowd an edge of their range
significance  how likely that is by chance
ancestor      the best settings of an older study
confirmation  the best trials trained again with other seeds
search        what a worker does next
proposer      a sampler asked for the parameters of one trial
samplers      Optuna's samplers by name, and our own
optuna        studies in Optuna's hands, and back
"""
