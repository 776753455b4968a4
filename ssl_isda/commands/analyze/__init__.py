"""The paper's analyses, each one command: ``run.py analyze comparison | collect | tightness | cost``."""
