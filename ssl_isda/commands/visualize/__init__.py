"""``run.py visualize``: what a class varies along, as images. It may import any floor below the commands,
and no other command."""
