"""What to try next: space, plan, borders, samplers; whatever speaks Optuna.

space         parameters with their scale, ranges, limits and conditions
grammar       where a range is read from YAML: Hydra's override grammar, or a mapping
plan          how the budget is spent, stage by stage
plans         the built-in plans, and a plan out of a person's settings
search        what a worker does next: a new trial, a promotion, a move of the ranges
proposer      a sampler asked for the parameters of one trial
completion    when a study is over
borders       where a border verdict is judged
verdict       what it says
significance  how likely that is by chance
ranges        how ranges move
samplers      Optuna's samplers by name, and our own
optuna        studies in Optuna's words and hands
"""
