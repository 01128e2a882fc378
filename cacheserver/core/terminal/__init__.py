"""Tables, prompts, progress bars and files written by hand: what commands print, ask and read.

Promises: text that came from elsewhere is escaped before a terminal sees it; an error about a file
names the line and the field. Imports the standard library only.
Used by the commands of all packages.
"""
