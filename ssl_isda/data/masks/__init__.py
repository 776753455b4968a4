"""Images with a class for each pixel: their folders, masks and palettes, and the crops of training.

``mask_data`` is what a data set gives, ``pairs`` finds the files, ``classes`` and ``decoding`` read them,
``crops`` changes image and mask together, ``batches`` lays them out for a step.
"""
