"""Schedules of the learning rate, one file each: pure functions of the step, with no state to save.

They import ``base`` alone.
"""
