"""Many runs from one file: expanded into ordinary commands, and started here or on a Ray cluster.

runs.grid_expansion -> one_by_one or on_ray, which start each command through attempts and tethered;
progress shows how far they are. Nothing here imports torch: the commands do.
"""
