"""Loss functions, one file a kind.

They import ``base``, ``isda`` and ``models``' contract, and torch alone.
"""

from ssl_isda.old_names import names_of

__getattr__ = names_of(__name__)
