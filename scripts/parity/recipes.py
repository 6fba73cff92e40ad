"""The list of cases, and the sizes that they share."""

TEXT = dict(
    vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
# Inside a whole model: three query heads share one key head.
TEXT_SMALL = TEXT | dict(
    vocab_size=80, hidden_size=24, intermediate_size=40, num_attention_heads=3, num_key_value_heads=1,
)
VISION = dict(
    hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7,
)
VISION_SMALL = VISION | dict(hidden_size=16, intermediate_size=32, num_attention_heads=2, image_size=20, patch_size=5)
AUDIO = dict(
    num_mel_bins=8, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=40, d_model=24, max_source_positions=20,
)
# What stands in the text where a picture (or a sound) goes, and where a video goes.
IMAGE_TOKEN, VIDEO_TOKEN = 70, 71

RECIPES = {}


def recipe(f):
    RECIPES[f.__name__] = f
    return f


def rope(theta, **scaling):
    return dict(rope_type="default", rope_theta=theta) | scaling
