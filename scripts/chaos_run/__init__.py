"""A server under mixed traffic while everything around it fails, and a check of all it did.

`schedule` draws what goes wrong from a seed; `processes`, `upstream`, `proxy`, `disk`,
`store_line`, `network` and `cluster` are what fails; `traffic`, and `meanwhile` during a fault, ask
and write down what came back (`history`); `checker` and `rules` judge the history without knowing
what the server is made of.
"""
