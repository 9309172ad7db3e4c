"""One-layer softmax attention: heads on prompts of K features (HCL23), on regression (HPCY25)."""

from ._landscape import HeadMoments as HeadMoments
from ._landscape import SoftmaxAttentionBatch as SoftmaxAttentionBatch
from ._landscape import SoftmaxAttentionLandscape as SoftmaxAttentionLandscape
from ._landscape import softmax_head_start as softmax_head_start
from ._multi_head import AttentionHead as AttentionHead
from ._multi_head import MultiHeadLandscape as MultiHeadLandscape
from ._multi_head import attention_head_start as attention_head_start
from ._prompts import draw_counts as draw_counts
from ._prompts import every_prompt as every_prompt
from ._prompts import feature_probabilities as feature_probabilities
from ._tensors import softmax_heads_from as softmax_heads_from
from ._theory import BalancedSoftmax as BalancedSoftmax
from ._theory import query_floor as query_floor
from ._theory import query_hessian as query_hessian
from ._theory import starting_velocity as starting_velocity
from ._tokens import feature_directions as feature_directions
from ._tokens import head_logits as head_logits
from ._tokens import head_matrices as head_matrices
from ._tokens import predict_from_tokens as predict_from_tokens
