"""``run.py report``: finished runs as a page, Markdown, a spreadsheet and a LaTeX table.

It imports ``results``, ``runs.metrics`` and ``settings``: contents -> page, text -> command. Nothing
here imports torch or writes into a run.
"""
