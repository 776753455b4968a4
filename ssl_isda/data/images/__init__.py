"""Images: what a data set of them gives, and files decoded at once or when a step needs them.

``image_data`` is what a data set gives, ``decoding`` reads a file, ``complaints`` says what is wrong with
one.
"""
