"""A server under mixed traffic while everything around it fails, and a check of all it did.

`schedule` draws what goes wrong from a seed; `processes`, `upstream`, `proxy` and `disk` are what
fails; `traffic` asks and writes down what came back (`history`); `checker` and `money` judge the
history without knowing what the server is made of.
"""
