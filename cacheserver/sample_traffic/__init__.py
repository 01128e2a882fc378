"""Sample traffic: a made-up shop's requests, replayed so that a new install has something to show.

Promises: it only runs where Claude is simulated, so its money never mixes with real money; all that
it stores belongs to the tenant `sample`; every prompt says that it is a sample.
Called by the admin routes; the simulated Claude that `bootstrap` starts takes its answers.
"""
