"""Images, splits and mini-batches: everything between files on a disk and a ``Batch``."""
