//! Sizes from a run's `[model]` table.

use std::num::NonZeroUsize;

use mmtrain_config as user;

use super::{
    Activation, AudioConfig, AudioFamily, ConnectorConfig, CrossAttentionConfig, EncoderConfig, FusedConfig, MlpConfig,
    PerceiverConfig, QFormerConfig, SlidingWindow, TextConfig, TextFamily, VideoFeatures, VisionConfig, VisionFamily,
    VitConfig,
};

/// Positions of an audio encoder in a second: frames every 10 ms, of which each second one is kept.
const POSITIONS_PER_SEC: usize = 50;

/// `Blip2QFormerConfig`'s default.
const Q_FORMER_EPS: f64 = 1e-12;

impl VisionConfig {
    /// A tower described in a run's TOML.
    pub fn from_arch(arch: &user::VisionArch) -> Self {
        let family = match arch.family {
            user::VisionFamily::Clip => VisionFamily::Clip,
            user::VisionFamily::Siglip => VisionFamily::Siglip,
        };
        Self {
            family,
            hidden_size: arch.hidden_size,
            intermediate_size: arch.intermediate_size,
            num_hidden_layers: arch.num_hidden_layers,
            num_attention_heads: arch.num_attention_heads,
            image_size: arch.image_size,
            patch_size: arch.patch_size,
            layer_norm_eps: family.default_eps(),
            hidden_act: family.default_act(),
        }
    }
}

impl AudioConfig {
    /// An encoder of sounds described in a run's TOML.
    pub fn from_arch(arch: &user::AudioArch) -> Self {
        Self {
            family: match arch.family {
                user::AudioFamily::Whisper => AudioFamily::Whisper,
                user::AudioFamily::Qwen2Audio => AudioFamily::Qwen2Audio,
            },
            num_mel_bins: arch.num_mel_bins,
            hidden_size: arch.hidden_size,
            intermediate_size: arch.intermediate_size,
            num_hidden_layers: arch.num_hidden_layers,
            num_attention_heads: arch.num_attention_heads,
            max_source_positions: POSITIONS_PER_SEC * arch.chunk_secs,
            hidden_act: Activation::Gelu,
        }
    }
}

impl TextConfig {
    /// A decoder described in a run's TOML, for a tokenizer of `vocab_size` entries.
    pub fn from_arch(arch: &user::DecoderArch, vocab_size: usize) -> Self {
        let family = match arch.family {
            user::DecoderFamily::Llama => TextFamily::Llama,
            user::DecoderFamily::Mistral => TextFamily::Mistral,
            user::DecoderFamily::Qwen2 => TextFamily::Qwen2,
            user::DecoderFamily::Qwen3 => TextFamily::Qwen3,
        };
        let blocks = vec![true; arch.num_hidden_layers];
        Self {
            vocab_size,
            hidden_size: arch.hidden_size,
            intermediate_size: arch.intermediate_size,
            num_hidden_layers: arch.num_hidden_layers,
            num_attention_heads: arch.num_attention_heads,
            num_key_value_heads: arch.num_key_value_heads,
            head_dim: arch.head_width(),
            rope_theta: arch.rope_theta,
            sliding_window: arch.sliding_window.map(|size| SlidingWindow { size, blocks }),
            rms_norm_eps: arch.rms_norm_eps,
            tie_word_embeddings: arch.tie_word_embeddings,
            max_position_embeddings: arch.max_position_embeddings,
            ..Self::class_defaults(family)
        }
    }
}

impl VideoFeatures {
    /// What a run's TOML makes of clips.
    pub fn from_arch(arch: &user::EncoderConfig) -> Self {
        match arch.video {
            user::VideoFeatures::Frames => Self::Frames,
            user::VideoFeatures::Pooled => Self::Pooled { frames: arch.pooled_frames.get() },
        }
    }
}

impl EncoderConfig {
    /// Two towers in the place of one. `rescale`: as of [`FusedConfig`].
    ///
    /// # Errors
    ///
    /// If one of them is no image tower, or they do not see the same patches.
    pub fn fused(first: Self, second: Self, rescale: [[f32; 2]; 3]) -> Result<Self, String> {
        let (first, second) = (first.into_vit("the first")?, second.into_vit("the second")?);
        let fused = Self::Fused(FusedConfig { first, second, rescale });
        fused.check().map(|()| fused)
    }

    /// The same with other features of clips.
    ///
    /// # Errors
    ///
    /// If frames are to be pooled and the encoder is no image tower.
    pub fn with_video(mut self, video: VideoFeatures) -> Result<Self, String> {
        match &mut self {
            Self::Vit(vit) => vit.video = video,
            Self::Fused(fused) => [&mut fused.first, &mut fused.second].into_iter().for_each(|vit| vit.video = video),
            _ if video == VideoFeatures::Frames => {}
            other => {
                return Err(format!(
                    "features of frames are pooled of an image tower; the encoder is {}",
                    other.kind()
                ));
            }
        }
        Ok(self)
    }

    fn into_vit(self, which: &str) -> Result<VitConfig, String> {
        match self {
            Self::Vit(vit) => Ok(vit),
            other => Err(format!("two image towers are joined; {which} encoder is {}", other.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Vit(_) => "an image tower",
            Self::Fused(_) => "a pair of towers already",
            Self::QwenVl(_) => "Qwen2-VL's tower",
            Self::Mllama(_) => "Mllama's tower",
            Self::Audio(_) => "one of sound",
        }
    }
}

impl ConnectorConfig {
    /// A connector described in a run's TOML, between features of width `feature_size` and a decoder.
    pub fn from_arch(arch: &user::ConnectorConfig, feature_size: usize, text: &TextConfig) -> Self {
        match arch {
            user::ConnectorConfig::Mlp { depth, pixel_shuffle, bias, .. } => Self::Mlp(MlpConfig {
                depth: depth.get(),
                pixel_shuffle: pixel_shuffle.get(),
                act: Activation::Gelu,
                bias: bias.unwrap_or(true),
            }),
            user::ConnectorConfig::QFormer {
                num_queries,
                variant,
                hidden_size,
                intermediate_size,
                num_hidden_layers,
                num_attention_heads,
                cross_attention_frequency,
                ..
            } => {
                let (hidden_size, heads) = (hidden_size.get(), num_attention_heads.get());
                let intermediate_size = intermediate_size.map_or(4 * hidden_size, NonZeroUsize::get);
                match variant {
                    user::QueryVariant::Blip2 => Self::QFormer(QFormerConfig {
                        num_queries: num_queries.get(),
                        hidden_size,
                        intermediate_size,
                        num_hidden_layers: num_hidden_layers.get(),
                        num_attention_heads: heads,
                        cross_attention_frequency: cross_attention_frequency.get(),
                        hidden_act: Activation::Gelu,
                        layer_norm_eps: Q_FORMER_EPS,
                        instruction: None,
                    }),
                    user::QueryVariant::Perceiver => Self::Perceiver(PerceiverConfig {
                        num_latents: num_queries.get(),
                        hidden_size,
                        intermediate_size,
                        depth: num_hidden_layers.get(),
                        num_attention_heads: heads,
                        head_dim: hidden_size / heads,
                    }),
                }
            }
            user::ConnectorConfig::CrossAttention { interval, num_latents, resampler_depth, .. } => {
                let resampler =
                    |latents: NonZeroUsize| resampler(latents.get(), resampler_depth.get(), feature_size, text);
                let before_blocks = CrossAttentionConfig::every(interval.get(), text.num_hidden_layers);
                Self::CrossAttention(CrossAttentionConfig {
                    resampler: num_latents.map(resampler),
                    ..CrossAttentionConfig::beside(text, before_blocks)
                })
            }
        }
    }
}

impl ConnectorConfig {
    /// How a run's TOML describes the connector; nothing for those that only come with a whole model.
    pub fn to_arch(&self) -> Option<user::ConnectorConfig> {
        let nonzero = NonZeroUsize::new;
        Some(match self {
            Self::Mlp(mlp) => user::ConnectorConfig::Mlp {
                depth: nonzero(mlp.depth)?,
                pixel_shuffle: nonzero(mlp.pixel_shuffle)?,
                bias: Some(mlp.bias),
                weights: None,
            },
            Self::QFormer(q_former) => user::ConnectorConfig::QFormer {
                num_queries: nonzero(q_former.num_queries)?,
                variant: user::QueryVariant::Blip2,
                hidden_size: nonzero(q_former.hidden_size)?,
                intermediate_size: nonzero(q_former.intermediate_size),
                num_hidden_layers: nonzero(q_former.num_hidden_layers)?,
                num_attention_heads: nonzero(q_former.num_attention_heads)?,
                cross_attention_frequency: nonzero(q_former.cross_attention_frequency)?,
                weights: None,
            },
            Self::Perceiver(perceiver) => user::ConnectorConfig::QFormer {
                num_queries: nonzero(perceiver.num_latents)?,
                variant: user::QueryVariant::Perceiver,
                hidden_size: nonzero(perceiver.hidden_size)?,
                intermediate_size: nonzero(perceiver.intermediate_size),
                num_hidden_layers: nonzero(perceiver.depth)?,
                num_attention_heads: nonzero(perceiver.num_attention_heads)?,
                cross_attention_frequency: NonZeroUsize::MIN,
                weights: None,
            },
            Self::Merger | Self::CrossAttention(_) => return None,
        })
    }
}

/// As wide as the features, as in Flamingo and Idefics, with the decoder's heads.
fn resampler(num_latents: usize, depth: usize, feature_size: usize, text: &TextConfig) -> PerceiverConfig {
    PerceiverConfig {
        num_latents,
        hidden_size: feature_size,
        intermediate_size: 4 * feature_size,
        depth,
        num_attention_heads: text.num_attention_heads,
        head_dim: text.head_dim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tower(family: VisionFamily, image_size: usize, patch_size: usize) -> EncoderConfig {
        let vision = VisionConfig {
            family,
            hidden_size: 8,
            intermediate_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size,
            patch_size,
            layer_norm_eps: family.default_eps(),
            hidden_act: family.default_act(),
        };
        EncoderConfig::Vit(VitConfig::new(vision, -1))
    }

    fn fused(first: EncoderConfig, second: EncoderConfig) -> Result<EncoderConfig, String> {
        EncoderConfig::fused(first, second, [[1.0, 0.0]; 3])
    }

    #[test]
    fn two_towers_see_the_same_patches() {
        let dinov2 = VisionFamily::Dinov2 { gated_mlp: false, registers: 4 };
        let siglip = || tower(VisionFamily::Siglip, 224, 14);
        assert!(fused(siglip(), tower(VisionFamily::Clip, 224, 14)).is_ok());
        // It was made for 518 pixels and takes any number.
        assert_eq!(fused(siglip(), tower(dinov2, 518, 14)).map(|fused| fused.features_per_tile()), Ok(256));
        let error = fused(siglip(), tower(VisionFamily::Clip, 336, 14)).expect_err("another size");
        assert!(error.contains("224 pixels") && error.contains("336"), "{error}");
        let error = fused(siglip(), tower(VisionFamily::Clip, 224, 16)).expect_err("another patch");
        assert!(error.contains("256 features") && error.contains("196"), "{error}");
        let error = fused(fused(siglip(), siglip()).expect("two"), siglip()).expect_err("three");
        assert!(error.contains("the first encoder is a pair of towers already"), "{error}");
    }

    #[test]
    fn frames_are_pooled_in_both_towers_and_in_no_other_kind_of_encoder() {
        let towers = || fused(tower(VisionFamily::Clip, 28, 14), tower(VisionFamily::Siglip, 28, 14)).expect("two");
        let pooled = towers().with_video(VideoFeatures::Pooled { frames: 5 }).expect("image towers");
        assert_eq!((towers().pooled_frames(), pooled.pooled_frames()), (None, Some(5)));
    }

    #[test]
    fn cross_attention_has_the_decoders_sizes_and_its_resampler_the_features_width() {
        let text = TextConfig { num_hidden_layers: 9, ..TextConfig::class_defaults(TextFamily::Mistral) };
        let arch = |num_latents: Option<usize>| user::ConnectorConfig::CrossAttention {
            interval: NonZeroUsize::new(4).expect("not 0"),
            num_latents: num_latents.and_then(NonZeroUsize::new),
            resampler_depth: NonZeroUsize::MIN,
            weights: None,
        };
        let ConnectorConfig::CrossAttention(cross) = ConnectorConfig::from_arch(&arch(Some(64)), 24, &text) else {
            panic!("another connector");
        };
        assert_eq!(cross.before_blocks, [3, 7]);
        assert_eq!([cross.hidden_size, cross.intermediate_size, cross.head_dim], [4096, 14_336, 128]);
        assert_eq!([cross.num_attention_heads, cross.num_key_value_heads], [32, 8]);
        let resampler = cross.resampler.expect("asked for");
        assert_eq!([resampler.num_latents, resampler.hidden_size, resampler.depth], [64, 24, 1]);
        let plain = ConnectorConfig::from_arch(&arch(None), 24, &text);
        assert_eq!(plain.to_string(), "cross-attention before blocks [3, 7], to all features");
        assert!(!plain.has_layers_of(&ConnectorConfig::from_arch(&arch(Some(64)), 24, &text)));
    }
}
