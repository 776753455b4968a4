"""``run.py generate``: train a generator of images, and have it make some. It may import any floor below
the commands, and no other command."""
