"""Shapes in signatures are checked at run time here, and only here."""

from jaxtyping import install_import_hook

install_import_hook(
    ["ssl_isda.covariance", "ssl_isda.losses"], "beartype.beartype"
).__enter__()  # for the whole session: modules are imported once
