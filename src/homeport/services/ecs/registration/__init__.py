"""What RegisterTaskDefinition does to a task definition before it is stored. Pure.

``sizes`` normalises cpu and memory, the rule modules refuse what ECS refuses, with its texts, ``defaults`` fills in
what was left out, ``compatibility`` says where such tasks may run and what an instance must be able to do.
"""
