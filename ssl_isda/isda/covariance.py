"""Online class-conditional mean and covariance of deep features (Eqs. 1-3).

Shape key: n images, a features, c classes, p classes that are in use, d directions.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from ssl_isda.base.shapes import Float, Int
from ssl_isda.parallel.distributed import part, whole

Form = Literal["full", "diagonal", "shared", "identity"]
GPU_PARTS = 4
"""A GPU updates the classes in about so many parts: few kernels, and no tensor of n x c x a numbers."""


class ClassCovariance(nn.Module):
    r"""Streamed covariance of each class, over everything ever passed to ``update``.

    For a batch with m_c samples of class c, their mean mu' and biased covariance Sigma'::

        mu_c    <- (n_c mu_c + m_c mu') / (n_c + m_c)                                        (Eq. 1)
        Sigma_c <- (n_c Sigma_c + m_c Sigma') / (n_c + m_c)
                   + n_c m_c (mu_c - mu')(mu_c - mu')^T / (n_c + m_c)^2                      (Eq. 2)
        n_c     <- n_c + m_c                                                                 (Eq. 3)

    which is the biased (divided by n_c) pooled covariance of all samples seen. Classes absent from a
    batch keep theirs to the bit; a class seen once has covariance zero.

    Forms (Table 8): ``full``, one a x a matrix per class; ``diagonal``, its diagonal alone;
    ``shared``, ONE matrix of all features about their common mean; ``identity``, the constant I.

    Everything is held in buffers (``count`` int64, ``mean``, ``scatter`` = n Sigma), in fp32 unless
    the module is converted, and none of it carries a gradient.

    Raises
    ------
    ValueError
        A form that does not exist, fewer than 1 class or feature, shapes that do not fit.

    Source: Wang et al., Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(self, num_classes: int, num_features: int, form: Form = "full") -> None:
        super().__init__()
        if form not in get_args(Form):
            raise ValueError(f"form is one of {', '.join(get_args(Form))}; got {form!r}")
        if num_classes < 1 or num_features < 1:
            raise ValueError(
                f"at least 1 class and 1 feature are needed; got {num_classes} and {num_features}"
            )
        self.num_classes, self.num_features, self.form = num_classes, num_features, form
        groups = {"full": num_classes, "diagonal": num_classes, "shared": 1, "identity": 0}[form]
        square = () if form == "diagonal" else (num_features,)
        self.register_buffer("count", torch.zeros(groups, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(groups, num_features))
        self.register_buffer("scatter", torch.zeros(groups, num_features, *square))

    @torch.no_grad()
    def update(self, features: Float[Tensor, "n a"], labels: Int[Tensor, " n"]) -> None:
        """Take a batch of labeled features into account (Eqs. 1-3)."""
        self._check(features, labels)
        if self.form == "identity":
            return
        features = features.to(self.mean.dtype)
        if self.form == "shared":
            labels = torch.zeros_like(labels)
        with torch.autocast(features.device.type, enabled=False):
            if features.is_cuda:
                self._update_every_class(features, labels)
            else:
                self._update_present_classes(features, labels)

    def _update_present_classes(self, x: Tensor, labels: Tensor) -> None:
        """Touch, in place, only what the batch holds: the fastest form on a CPU."""
        classes, position, counts = labels.unique(return_inverse=True, return_counts=True)
        m = counts.to(x.dtype).unsqueeze(1)
        n = self.count.index_select(0, classes).to(x.dtype).unsqueeze(1)
        mean = x.new_zeros(len(classes), x.shape[1]).index_add_(0, position, x) / m
        shift = mean - self.mean.index_select(0, classes)
        rows = x + _moved(mean, shift, m, n).index_select(0, position)
        if self.form == "diagonal":
            self.scatter.index_add_(0, labels, rows.square())
        else:
            in_order = rows.index_select(0, position.argsort(stable=True))
            for c, members in zip(classes.tolist(), in_order.split(counts.tolist()), strict=True):
                self.scatter[c].addmm_(members.T, members)
        self.mean.index_add_(0, classes, m / (n + m) * shift)
        self.count.index_add_(0, classes, counts)

    def _update_every_class(self, x: Tensor, labels: Tensor) -> None:
        """The same for all classes at once, in fixed shapes: nothing waits for the device."""
        member = nn.functional.one_hot(labels, len(self.count)).to(x.dtype)  # (n, c)
        m, n = member.sum(0).unsqueeze(1), self.count.to(x.dtype).unsqueeze(1)
        mean = (member.T @ x) / m.clamp(min=1)  # (c, a)
        shift = (mean - self.mean) * (m > 0)
        rows = x + _moved(mean, shift, m, n)[labels]
        if self.form == "diagonal":
            self.scatter += member.T @ rows.square()
        else:
            at_once = max(1, len(self.count) // GPU_PARTS)
            for scatter, of_classes in zip(
                self.scatter.split(at_once), member.T.split(at_once), strict=True
            ):
                own = rows.T * of_classes.unsqueeze(1)  # (classes at once, a, n)
                scatter.baddbmm_(own, rows.expand(len(own), -1, -1))
        self.mean += m / (n + m).clamp(min=1) * shift
        self.count += m.squeeze(1).to(torch.int64)

    @torch.no_grad()
    def matrix(self, c: int) -> Float[Tensor, "a a"]:
        """Sigma_c as a dense matrix: to look at; training never forms it."""
        identity = torch.eye(self.num_features, dtype=self.mean.dtype, device=self.mean.device)
        return self.multiply(identity, c)

    @torch.no_grad()
    def multiply(self, directions: Float[Tensor, "d a"], c: int) -> Float[Tensor, "d a"]:
        """``directions @ Sigma_c``."""
        if self.form == "identity":
            return directions.clone()
        group = 0 if self.form == "shared" else c
        scatter, n = self.scatter[group], self.count[group].clamp(min=1)
        product = directions * scatter if self.form == "diagonal" else directions @ scatter
        return product / n

    @torch.no_grad()
    def multiply_each(
        self, directions: Float[Tensor, "p d a"], classes: Int[Tensor, " p"]
    ) -> Float[Tensor, "p d a"]:
        """``directions[i] @ Sigma_{classes[i]}`` for each i."""
        if self.form == "identity":
            return directions.clone()
        if self.form == "shared":
            return directions @ self.scatter[0] / self.count[0].clamp(min=1)
        n = self.count[classes].clamp(min=1).view(-1, 1, 1)
        if self.form == "diagonal":
            return directions * self.scatter[classes].unsqueeze(1) / n
        if len(classes) == self.num_classes:  # all of them, in order: see classes_in_use
            return (directions @ self.scatter).div_(n)
        products, counts = torch.empty_like(directions), n.flatten().tolist()
        for out, rows, c, count in zip(products, directions, classes.tolist(), counts, strict=True):
            scatter = self.scatter[c]  # a view: Sigma is not copied
            torch.addmm(out, rows, scatter, beta=0, alpha=1 / count, out=out)
        return products

    @torch.no_grad()
    def draw(
        self, labels: Int[Tensor, " n"], num_samples: int, generator: torch.Generator
    ) -> Float[Tensor, "m n a"]:
        """For each label, ``num_samples`` draws from N(0, Sigma_label)."""
        shape = (num_samples, len(labels), self.num_features)
        drawn = torch.randn(
            whole(shape, 1), generator=generator, dtype=self.mean.dtype, device=generator.device
        )
        noise = part(drawn, 1).to(self.mean.device)
        if self.form == "identity":
            return noise
        if self.form == "shared":
            return noise @ _root(self.scatter / self.count.clamp(min=1))[0].T
        if self.form == "diagonal":
            n = self.count[labels].clamp(min=1).unsqueeze(1)
            return noise * (self.scatter[labels] / n).sqrt()
        classes, positions = classes_in_use(labels, self.num_classes)
        n = self.count[classes].clamp(min=1).view(-1, 1, 1)
        return correlated(noise, _root(self.scatter[classes] / n), positions)

    def _check(self, features: Tensor, labels: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(
                f"features are (n, {self.num_features}); got {tuple(features.shape)}: "
                "the features before the linear head are meant, one row an image"
            )
        if labels.shape != features.shape[:1]:
            raise ValueError(
                f"labels are ({len(features)},), one a row of features; got {tuple(labels.shape)}"
            )

    def extra_repr(self) -> str:
        return f"classes={self.num_classes}, features={self.num_features}, form={self.form!r}"


def _moved(mean: Tensor, shift: Tensor, m: Tensor, n: Tensor) -> Tensor:
    """What makes m features of a class the rows r whose r^T r is all that they add to its scatter.

    r = x - mean + sqrt(n / (n + m)) shift. The x - mean sum to zero, so that beside their own products
    nothing is left but the between-class term of Eq. 2, n m / (n + m) shift^T shift.
    """
    return (n / (n + m).clamp(min=1)).sqrt() * shift - mean


def classes_in_use(
    labels: Int[Tensor, " n"], num_classes: int
) -> tuple[Int[Tensor, " p"], Int[Tensor, " n"]]:
    """The classes to compute for, and where each label stands among them.

    On a CPU the classes that occur; on a GPU, where asking would wait for the device, all.
    """
    if labels.is_cuda:
        return torch.arange(num_classes, device=labels.device), labels
    classes, positions = labels.unique(return_inverse=True)
    return cast(Tensor, classes), cast(Tensor, positions)


def correlated(
    noise: Float[Tensor, "m n a"], roots: Float[Tensor, "p a a"], positions: Int[Tensor, " n"]
) -> Float[Tensor, "m n a"]:
    """``roots[positions[i]] @ noise[k, i]`` for each draw k of each image i.

    Class by class, in fixed shapes: no (n, a, a) tensor, and nothing waits for the device.
    """
    out = torch.zeros_like(noise)
    for i, root in enumerate(roots):
        out = torch.where((positions == i).view(1, -1, 1), noise @ root.T, out)
    return out


def _root(sigma: Float[Tensor, "p a a"]) -> Float[Tensor, "p a a"]:
    """L with L L^T = Sigma, to a millionth of its mean variance, or a thousandth where it must be.

    An estimate from few samples is singular, and rounding may take it below zero: a small multiple
    of I makes it definite. Eigenvectors would do without, at the price of a wait for the device.
    """
    exact = sigma.double()
    variance = exact.diagonal(dim1=1, dim2=2)
    root = torch.diag_embed(variance.clamp(min=0).sqrt())  # of a class that was never seen: 0
    for share in (1e-3, 1e-6):
        raised = exact + torch.diag_embed((share * variance.mean(1, True)).expand_as(variance))
        factor, failed = torch.linalg.cholesky_ex(raised)
        root = torch.where(failed.view(-1, 1, 1) == 0, factor, root)
    return root.to(sigma.dtype)
