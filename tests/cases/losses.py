"""Cases of losses, and of distances between two inputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .values import CLASSES, B

PAIR: list[tuple[int, ...]] = [(4, 6), (4, 6)]
TARGET = torch.sigmoid(B).expand(4, 6)
SIGN = B.sign().expand(4, 6)

CASES: dict[str, Any] = {
    "cross_entropy": (lambda a: F.cross_entropy(a, CLASSES), [(4, 6)], False),
    "cross_entropy_smooth": (
        lambda a: F.cross_entropy(a, CLASSES, label_smoothing=0.1, weight=B.abs()),
        [(4, 6)],
        False,
    ),
    "cross_entropy_soft": (lambda a, b: F.cross_entropy(a, b.softmax(1)), PAIR, False),
    "nll": (lambda a: F.nll_loss(a, CLASSES, reduction="none") + F.nll_loss(a, CLASSES), [(4, 6)], False),
    "nll2d": (lambda a: F.cross_entropy(a, torch.zeros(2, 4, 4).long()), [(2, 3, 4, 4)], False),
    "mse": (lambda a, b: F.mse_loss(a, b) + F.mse_loss(a, b, reduction="none"), PAIR, False),
    "mse_target": (lambda a: F.mse_loss(a, B.expand(4, 6), reduction="sum"), [(4, 6)], False),
    "l1": (lambda a, b: F.l1_loss(a, b), PAIR, False),
    "smooth_l1": (lambda a, b: F.smooth_l1_loss(a, b) + F.huber_loss(a, b, delta=0.5), PAIR, False),
    "bce": (lambda a: F.binary_cross_entropy(a.sigmoid(), TARGET), [(4, 6)], False),
    "bce_target": (lambda a, b: F.binary_cross_entropy(a.sigmoid(), b.sigmoid(), reduction="none"), PAIR, False),
    "bce_logits": (lambda a: F.binary_cross_entropy_with_logits(a, TARGET), [(4, 6)], False),
    "bce_logits_weighted": (
        lambda a, b: F.binary_cross_entropy_with_logits(a, b, weight=B.abs(), pos_weight=B.abs(), reduction="none"),
        PAIR,
        False,
    ),
    "kl_div": (lambda a: F.kl_div(a.log_softmax(1), B.softmax(0).expand(4, 6), reduction="batchmean"), [(4, 6)], False),
    "kl_div_log": (
        lambda a, b: F.kl_div(a.log_softmax(1), b.log_softmax(1), reduction="sum", log_target=True),
        PAIR,
        False,
    ),
    "soft_margin": (lambda a: F.soft_margin_loss(a, SIGN), [(4, 6)], False),
    "multi_margin": (
        lambda a: F.multi_margin_loss(a, CLASSES) + F.multi_margin_loss(a, CLASSES, p=2, weight=B.abs()),
        [(4, 6)],
        False,
    ),
    "multilabel_soft_margin": (lambda a: F.multilabel_soft_margin_loss(a, TARGET), [(4, 6)], False),
    "hinge_embedding": (lambda a: F.hinge_embedding_loss(a, SIGN), [(4, 6)], False),
    "triplet": (lambda a, b, c: F.triplet_margin_loss(a, b, c), [(4, 6)] * 3, False),
    "cosine_embedding": (lambda a, b: F.cosine_embedding_loss(a, b, torch.tensor([1, -1, 1, -1])), PAIR, False),
    "margin_ranking": (lambda a, b: F.margin_ranking_loss(a, b, torch.ones(1, 1)), PAIR, False),
    "poisson_nll": (lambda a: F.poisson_nll_loss(a, TARGET), [(4, 6)], False),
    "gaussian_nll": (lambda a, v: F.gaussian_nll_loss(a, TARGET, v.abs()), PAIR, False),
    "cosine": (lambda a, b: F.cosine_similarity(a, b), PAIR, False),
    "pairwise_distance": (lambda a, b: F.pairwise_distance(a, b) + F.pairwise_distance(a, b, p=1), PAIR, False),
    "cdist": (lambda a, b: torch.cdist(a, b) + torch.cdist(a, b, p=1) + torch.cdist(a, b, p=3), PAIR, False),
    "cdist_of_many": (lambda a, b: torch.cdist(a, b), [(30, 6), (30, 6)], False),
    "pdist": (lambda a: F.pdist(a), [(4, 6)], False),
    "dist": (lambda a, b: torch.dist(a, b), PAIR, False),
}
