"""One run on several processes: how they were launched, what they tell each other, and layers that act on
the whole batch.

It imports ``base`` alone; torch and numpy are all that it needs.
"""
