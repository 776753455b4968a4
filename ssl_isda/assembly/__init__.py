"""From the settings of a run to the run itself: data, network, method, objective and trainer, joined.

Everything that trains or evaluates goes through here: the commands and the Python interface. It may
import every floor below it, but no command. parts, devices < workspace < networks, batches < training <
freezing < trained < start: each file may import those before it.
"""
