"""A user's folder of images.

``walk`` finds the files and ``listing`` gives each its class and part, with ``by_table`` where there is a
table. ``reading`` reads them once, ``unreadable`` tells of those that cannot be read.
"""
