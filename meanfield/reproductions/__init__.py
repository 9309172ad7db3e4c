"""The headline results of the four papers as claims."""

from ._hcl23 import reproduce_hcl23_balanced as reproduce_hcl23_balanced
from ._hcl23_imbalanced import reproduce_hcl23_imbalanced as reproduce_hcl23_imbalanced
from ._ks24 import reproduce_ks24 as reproduce_ks24
from ._linear_attention_runs import crossing as crossing
from ._linear_attention_runs import extended as extended
from ._linear_attention_runs import follow as follow
from ._mt25 import reproduce_mt25 as reproduce_mt25
from ._yks25 import reproduce_yks25 as reproduce_yks25
from ._zsls25_merged import reproduce_zsls25_merged as reproduce_zsls25_merged
from ._zsls25_separate import reproduce_zsls25_separate as reproduce_zsls25_separate
