"""For every test: one thread, and shapes in signatures checked at run time."""

import torch
from jaxtyping import install_import_hook

# Tiny tensors gain nothing from a second thread, and on a busy machine lose a lot waiting for it.
torch.set_num_threads(1)

# Entered for good, not left at the end of a block: modules are imported once.
_CHECKED = ["ssl_isda.covariance", "ssl_isda.learned_covariance", "ssl_isda.losses"]
install_import_hook(_CHECKED, "beartype.beartype").__enter__()
