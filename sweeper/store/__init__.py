"""The study store: schema, claims, fenced writes, reads; the only SQL.

schema       tables, views, and the way from older versions
connection   a store is opened, or refused in a line; short transactions
claims       where a worker gets a trial and its lease: the one place that grants epochs
fenced       writes of the worker that holds a lease, void as soon as it holds it no more
writes       a study begun, its budget, plan, state and ranges changed
corrections  what a person changes of trials: tried again, hidden
imports      a whole study that was run elsewhere, written at once
statements   small writes that transactions share: events, revisions, upserts
breaker      the circuit breaker: failures in a row, on a device and in the study
reads        records for workers, rows for people
totals       counts and sums over trials
columns      trials and epochs column by column
attempts     who held which trial when
news         what is new since a study was last read
query        a person's own SELECT, which cannot write
health       what `sweeper doctor` asks, and its repairs
salvage      what can be saved of a damaged store
process      whether a process that the store names is still the same one
newfile      a file that others may read while it is written
address      how a person names a store, and a study in it
"""
