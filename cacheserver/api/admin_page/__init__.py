"""The admin page: its files, and the sessions it signs in with. Used by `api.routes`.

Promise: the page needs no build step, asks no host but this one, and can do nothing that the admin
API cannot.
"""
