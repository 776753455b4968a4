"""``run.py predict``: the class of every image or vector, as a trained network sees it.

command -> judged -> table, review. It imports ``data``, ``training``, ``results`` and ``assembly``.
"""
