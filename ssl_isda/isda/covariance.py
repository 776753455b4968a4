"""Online class-conditional mean and covariance of deep features (Eqs. 1-3).

Shape key: n images, a features, c classes, p classes that are in use, d directions.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ssl_isda.base.precision import outside_autocast
from ssl_isda.base.shapes import Float, Int
from ssl_isda.isda.draws import correlated, root
from ssl_isda.isda.labels import (
    NO_CLASS,
    LabelsOutside,
    are_classes,
    check_rows,
    classes_in_use,
    has_fixed_shapes,
    is_transformed,
    look_at,
    rows_of,
)
from ssl_isda.isda.pooling import GPU_PARTS as GPU_PARTS
from ssl_isda.isda.pooling import LARGEST_NORM, moved, update_every_class, update_with_others
from ssl_isda.isda.wide_state import WideState, wide_dtype
from ssl_isda.parallel.distributed import num_processes, part, whole

Form = Literal["full", "diagonal", "shared", "identity"]


class ClassCovariance(WideState):
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

    Everything is held in buffers (``count`` int64, ``mean``, ``scatter`` = n Sigma), and none of it
    carries a gradient. ``.half()`` and ``.bfloat16()`` leave them in fp32, ``.double()`` makes them
    float64.

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
        square, dtype = () if form == "diagonal" else (num_features,), wide_dtype()
        self.register_buffer("count", torch.zeros(groups, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(groups, num_features, dtype=dtype))
        self.register_buffer("scatter", torch.zeros(groups, num_features, *square, dtype=dtype))
        self.outside = LabelsOutside()

    @property
    def dtype(self) -> torch.dtype:
        """Of the statistics."""
        return self.mean.dtype

    @torch.no_grad()
    def update(
        self,
        features: Float[Tensor, "n a *pixels"],
        labels: Tensor,
        *,
        ignore_index: int = NO_CLASS,
        with_others: bool = False,
    ) -> None:
        """Take a batch of labeled features into account (Eqs. 1-3).

        A row whose features are not finite, or so large that the sums of their squares would not be,
        does not enter; the other rows of the batch do. A batch without a row that enters leaves
        everything as it is.

        Parameters
        ----------
        features : (n, a), or (n, a, h, w)
        labels : (n,), or (n, h, w), of any integer type
        ignore_index : the label of rows to pass over
        with_others : whether the batch is that of all processes, each of which calls this with rows of
            its own, in any number; they exchange sums (``ssl_isda.isda.pooling.update_with_others``)

        Raises
        ------
        ValueError
            Shapes that do not fit; labels that are probabilities: the features of a mixed image
            belong to no class; a label outside the classes that is not ``ignore_index``. On a GPU,
            where the check waits for nothing, such a row does not enter, and a later update raises,
            or ``tell_labels_outside``.
        RuntimeError
            It is called within ``torch.func``, which cannot change buffers.
        """
        fixed = has_fixed_shapes(features)
        if fixed:
            self.outside.tell_if_known(self.num_classes)
        self._check(features, labels)
        labels = labels.flatten().long()
        if fixed or self.form in ("shared", "identity"):
            seen = look_at(labels, self.num_classes, ignore_index)
            self.outside.note(labels, seen)
            labels, ignore_index = seen.filled(-1, outside_too=True), -1
        with_others = with_others and num_processes() > 1
        if self.form == "identity" or (labels.numel() == 0 and not with_others):
            return
        x = rows_of(features).to(self.mean.dtype)
        if self.form == "shared":
            labels = labels.clamp(max=0)
        update = self._update_every_class if fixed else self._update_present_classes
        update = self._update_with_others if with_others else update
        with outside_autocast(x.device.type):
            update(x, labels, ignore_index)

    def _update_present_classes(
        self, x: Tensor, labels: Tensor, ignore_index: int = NO_CLASS
    ) -> None:
        """Touch, in place, only what the batch holds: the fastest form on a CPU."""
        found = labels.unique(return_inverse=True, return_counts=True)
        in_use = found[0].tolist()
        if not self._all_enter(x, in_use, ignore_index):
            x, labels = self._entering(x, labels, ignore_index)
            found = labels.unique(return_inverse=True, return_counts=True)
            in_use = found[0].tolist()
            if not in_use:
                return
        classes, position, counts = found
        all_scatter, all_means, all_counts = self.scatter, self.mean, self.count
        m = counts.to(x.dtype).unsqueeze(1)
        n = all_counts.index_select(0, classes).to(x.dtype).unsqueeze(1)
        total = n + m
        mean = x.new_zeros(len(in_use), x.shape[1]).index_add_(0, position, x).div_(m)
        shift = mean - all_means.index_select(0, classes)
        rows = x + moved(mean, shift, n / total).index_select(0, position)
        if self.form == "diagonal":
            all_scatter.index_add_(0, labels, rows.square_())
        else:
            in_order = rows
            if len(in_use) > 1:
                in_order = rows.index_select(0, position.argsort(stable=True))
            for c, members in zip(in_use, in_order.split(counts.tolist()), strict=True):
                all_scatter[c].addmm_(members.T, members)
        all_means.index_add_(0, classes, m / total * shift)
        all_counts.index_add_(0, classes, counts)

    def _all_enter(self, x: Tensor, in_use: list[int], ignore_index: int) -> bool:
        """Of the classes that occur, in order; often so, and cheap to see."""
        if not are_classes(in_use, self.num_classes, ignore_index):
            return False
        return float(torch.linalg.vector_norm(x)) < LARGEST_NORM[x.dtype]

    def _entering(self, x: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
        present = look_at(labels, self.num_classes, ignore_index).present
        fits = torch.linalg.vector_norm(x, dim=1) < LARGEST_NORM[x.dtype]
        enters = fits if present is None else fits & present
        return x[enters], labels[enters]

    def _update_every_class(self, x: Tensor, labels: Tensor, ignore_index: int = NO_CLASS) -> None:
        """The same for all classes at once, in fixed shapes: nothing waits for the device."""
        update_every_class(self.count, self.mean, self.scatter, x, labels, ignore_index)

    def _update_with_others(self, x: Tensor, labels: Tensor, ignore_index: int = NO_CLASS) -> None:
        """The same for the rows of all processes."""
        entering = self._entering(x, labels, ignore_index)
        update_with_others(self.count, self.mean, self.scatter, *entering)

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

    def multiply_each(
        self, directions: Float[Tensor, "p d a"], classes: Int[Tensor, " p"]
    ) -> Float[Tensor, "p d a"]:
        """``directions[i] @ Sigma_{classes[i]}`` for each i, in the wider of the two types;
        differentiable by the directions."""
        if self.form == "identity":
            return directions.clone()
        dtype = torch.promote_types(directions.dtype, self.scatter.dtype)
        directions, scatter = directions.to(dtype), self.scatter.to(dtype)
        if self.form == "shared":
            return directions @ scatter[0] / self.count[0].clamp(min=1)
        n = self.count[classes].clamp(min=1).view(-1, 1, 1)
        if self.form == "diagonal":
            return directions * scatter[classes].unsqueeze(1) / n
        if len(classes) == self.num_classes:  # all of them, in order: see classes_in_use
            return (directions @ scatter).div_(n)
        shares = [1 / count for count in n.flatten().tolist()]
        factors = zip(directions, map(scatter.__getitem__, classes.tolist()), shares, strict=True)
        if torch.is_grad_enabled() or is_transformed(directions):
            return torch.stack([rows @ sigma * share for rows, sigma, share in factors])
        products = torch.empty_like(directions)
        for out, (rows, sigma, share) in zip(products, factors, strict=True):
            torch.addmm(out, rows, sigma, beta=0, alpha=share, out=out)  # Sigma is not copied
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
            return noise @ root(self.scatter / self.count.clamp(min=1))[0].T
        if self.form == "diagonal":
            n = self.count[labels].clamp(min=1).unsqueeze(1)
            return noise * (self.scatter[labels] / n).sqrt()
        classes, positions = classes_in_use(labels, self.num_classes)
        return correlated(noise, root(self.matrices(classes)), positions)

    def matrices(self, classes: Int[Tensor, " p"]) -> Float[Tensor, "p a a"]:
        """Sigma of each of these classes, where the form is full."""
        return self.scatter[classes] / self.count[classes].clamp(min=1).view(-1, 1, 1)

    def diagonals(self, classes: Int[Tensor, " p"]) -> Float[Tensor, "p a"]:
        """The variances of these classes' features, where the form is diagonal."""
        return self.scatter[classes] / self.count[classes].clamp(min=1).unsqueeze(1)

    def tell_labels_outside(self) -> None:
        """Wait for the device and look whether an earlier batch had a label outside the classes.

        Raises
        ------
        ValueError
            One had, since this was last said.
        """
        self.outside.tell(self.num_classes)

    def _check(self, features: Tensor, labels: Tensor) -> None:
        if torch._C._are_functorch_transforms_active():
            raise RuntimeError(
                "update changes buffers, which torch.func cannot: call it before the transform"
            )
        if features.device != self.mean.device:
            raise ValueError(
                f"features are on {features.device} and the covariance is on {self.mean.device}: "
                "move it, or the loss that it belongs to, with .to(device)"
            )
        check_rows(features, labels, num_classes=self.num_classes, num_features=self.num_features)

    def __repr__(self) -> str:
        return f"{self._get_name()}({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"classes={self.num_classes}, features={self.num_features}, form={self.form!r}"
