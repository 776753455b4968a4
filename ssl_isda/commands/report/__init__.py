"""The report of finished runs, as a page, Markdown, a spreadsheet and a LaTeX table.

run_files -> runs -> cells -> contents -> page, markdown, spreadsheet, latex; the rest serves them.
Nothing here imports torch or writes into a run.
"""
