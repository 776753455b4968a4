"""``run.py detect``: detectors of torchvision on backbones of this project. It may import any floor below
the commands, and no other command."""
