"""The commands behind `protemb`: each module adds its own to the command line.

These modules load at every start, so what they need is imported when a command runs.
"""
