"""What the first word of a command line can stand for, one file or folder each.

A command may import everything below ``cli``, but no other command.
"""
