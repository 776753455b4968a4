"""The contract of a method, the objective, and the loop that trains.

It imports the floors of the mathematics and of the data, and of ``runs`` the checkpoint and tracking
alone; torch and numpy are all that it needs.
"""
