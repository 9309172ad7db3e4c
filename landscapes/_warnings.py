"""Warnings by class, to be filtered by class."""


class StartWarning(UserWarning):
    """A start that may mislead: what `Landscape.concerns` returns, and what runs warn of."""


class NoLimitWarning(StartWarning):
    """A draw that has no limit as N → ∞: what follows depends on the draw alone."""


class SingularWarning(StartWarning):
    """Too few particles for the loss to be defined."""


class TruncationWarning(StartWarning):
    """Hermite modes of too low a degree for the neurons of the start."""


class ZeroWeightWarning(StartWarning):
    """Weights of zero, which multiplication leaves at zero."""


class DependentFeaturesWarning(UserWarning):
    """Target features that are linearly dependent on the samples."""
