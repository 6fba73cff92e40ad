//! Bounds within which a `config.json` is believed: wider than any published model, narrow enough that products
//! of sizes fit and nothing absurd is built.

use super::{
    AudioConfig, ConnectorConfig, CrossAttentionConfig, EncoderConfig, FusedConfig, MllamaVisionConfig,
    PerceiverConfig, QFormerConfig, QwenVlVisionConfig, TextConfig, VideoFeatures, VisionConfig, VitConfig, VlmConfig,
};

/// Widths, vocabularies and positions.
const MAX_SIZE: usize = 1 << 24;
/// Blocks of a tower or decoder.
const MAX_LAYERS: usize = 1024;
/// Pixels along a side.
const MAX_SIDE: usize = 1 << 14;
/// Tiles of a picture, and aspect ratios.
const MAX_TILES: usize = 1 << 8;
/// Numbers in one table.
const MAX_TABLE: usize = 1 << 34;

impl VisionConfig {
    /// Whether these sizes can be those of a tower.
    pub fn check(&self) -> Result<(), String> {
        at_most("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        at_most("image_size", self.image_size, MAX_SIDE)?;
        if self.patch_size == 0 {
            return Err("`patch_size` is 0".into());
        }
        for (key, value) in [("hidden_size", self.hidden_size), ("intermediate_size", self.intermediate_size)] {
            at_most(key, value, MAX_SIZE)?;
        }
        at_most("num_register_tokens", self.registers(), MAX_SIDE)?;
        heads("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        epsilon("layer_norm_eps", self.layer_norm_eps)
    }
}

impl VlmConfig {
    /// Whether these parts can be built, and belong together.
    pub fn check(&self) -> Result<(), String> {
        self.check_sizes()?;
        self.check_fit()
    }

    /// Whether each of these parts can be built.
    pub fn check_sizes(&self) -> Result<(), String> {
        self.encoder.check()?;
        self.text.check().map_err(|message| format!("`text_config`: {message}"))?;
        match &self.connector {
            ConnectorConfig::QFormer(q_former) => {
                q_former.check().map_err(|message| format!("`qformer_config`: {message}"))
            }
            ConnectorConfig::Mlp(mlp) => at_most("depth", mlp.depth, MAX_LAYERS),
            ConnectorConfig::Perceiver(perceiver) => perceiver.check(),
            ConnectorConfig::CrossAttention(cross) => cross.check_sizes(),
            ConnectorConfig::Merger => Ok(()),
        }
    }

    /// Whether the parts, each possible by itself, belong together.
    pub fn check_fit(&self) -> Result<(), String> {
        self.check_placeholders()?;
        match (&self.connector, &self.encoder) {
            (ConnectorConfig::Merger, EncoderConfig::QwenVl(qwen)) => {
                let (theirs, ours) = (qwen.out_hidden_size, self.text.hidden_size);
                let message = format!("the merger makes tokens of width {theirs}, the decoder's are {ours} wide");
                if theirs == ours { Ok(()) } else { Err(message) }
            }
            (ConnectorConfig::Merger, _) => Err("the connector is Qwen2-VL's merger, the encoder another tower".into()),
            (ConnectorConfig::Mlp(mlp), encoder) => check_shuffle(mlp.pixel_shuffle, encoder),
            (ConnectorConfig::CrossAttention(cross), _) => cross.check(&self.text),
            (ConnectorConfig::QFormer(_) | ConnectorConfig::Perceiver(_), _) => Ok(()),
        }
    }
}

impl CrossAttentionConfig {
    /// Whether these sizes can be those of layers.
    fn check_sizes(&self) -> Result<(), String> {
        at_most("hidden_size", self.hidden_size, MAX_SIZE)?;
        at_most("intermediate_size", self.intermediate_size, MAX_SIZE)?;
        at_most("before_blocks", self.before_blocks.len(), MAX_LAYERS)?;
        width_of_heads(self.num_attention_heads, self.head_dim)?;
        heads("num_key_value_heads", self.num_key_value_heads, "num_attention_heads", self.num_attention_heads)?;
        epsilon("rms_norm_eps", self.rms_norm_eps)?;
        self.resampler.as_ref().map_or(Ok(()), PerceiverConfig::check)
    }

    /// Whether the layers can stand between the blocks of a decoder.
    fn check(&self, text: &TextConfig) -> Result<(), String> {
        let (layers, blocks) = (&self.before_blocks, text.num_hidden_layers);
        if layers.is_empty() {
            return Err(format!("no cross-attention layer stands among the decoder's {blocks} blocks"));
        }
        if !layers.is_sorted_by(|a, b| a < b) || layers.iter().any(|&block| block > blocks) {
            return Err(format!("cross-attention before blocks {layers:?} of a decoder of {blocks}"));
        }
        let (ours, theirs) = (self.hidden_size, text.hidden_size);
        if ours == theirs {
            return Ok(());
        }
        Err(format!("cross-attention layers are {ours} wide, the decoder {theirs}"))
    }
}

impl PerceiverConfig {
    /// Whether these sizes can be those of a perceiver.
    fn check(&self) -> Result<(), String> {
        at_most("depth", self.depth, MAX_LAYERS)?;
        for (key, value) in [
            ("num_latents", self.num_latents),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
        ] {
            at_most(key, value, MAX_SIZE)?;
        }
        width_of_heads(self.num_attention_heads, self.head_dim)
    }
}

/// Rows that a tokenizer can add behind a table for its placeholders.
const MAX_ADDED: usize = 4096;

impl VlmConfig {
    /// Ids of placeholders lie in the embedding table or right behind it.
    fn check_placeholders(&self) -> Result<(), String> {
        let rows = self.text.num_embeddings();
        let ids = [("image_token_id", Some(self.image_token_id)), ("video_token_id", self.video_token_id)];
        for (key, id) in ids {
            if let Some(id) = id.filter(|&id| id > rows + MAX_ADDED) {
                return Err(format!("`{key}` is {id}, the embedding table has {rows} rows"));
            }
        }
        if self.text.extra_embeddings > 0 && self.text.tie_word_embeddings {
            return Err("`tie_word_embeddings` is true, but the embedding table has rows that the head has not".into());
        }
        Ok(())
    }
}

impl QFormerConfig {
    /// Whether these sizes can be those of a Q-Former.
    fn check(&self) -> Result<(), String> {
        at_most("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        let instruction = self.instruction.map_or([0, 0], |sizes| [sizes.vocab_size, sizes.max_position_embeddings]);
        for (key, value) in [
            ("num_query_tokens", self.num_queries),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", instruction[0]),
            ("max_position_embeddings", instruction[1]),
        ] {
            at_most(key, value, MAX_SIZE)?;
        }
        heads("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        epsilon("layer_norm_eps", self.layer_norm_eps)
    }
}

/// Squares of features have to tile the grid of a tower.
fn check_shuffle(factor: usize, encoder: &EncoderConfig) -> Result<(), String> {
    if let EncoderConfig::QwenVl(qwen) = encoder {
        let merge = qwen.spatial_merge_size;
        let message = format!("`pixel_shuffle` {factor} is neither 1 nor the tower's `spatial_merge_size` {merge}");
        return if factor == 1 || factor == merge { Ok(()) } else { Err(message) };
    }
    match encoder.vit() {
        _ if factor == 1 => Ok(()),
        Some(vit) if matches!(vit.video, VideoFeatures::Pooled { .. }) => {
            Err(format!("`pixel_shuffle` {factor} needs features in squares, which pooled frames are not"))
        }
        Some(vit) if vit.kept_prefix() > 0 => Err(format!("`pixel_shuffle` {factor} has no place for a class token")),
        Some(vit) if factor > 0 && vit.vision.grid().is_multiple_of(factor) => Ok(()),
        Some(vit) => Err(format!("`pixel_shuffle` {factor} does not divide the {} patches a side", vit.vision.grid())),
        None => Err(format!("`pixel_shuffle` {factor} needs features in squares, as image towers have them")),
    }
}

impl EncoderConfig {
    /// Whether these sizes can be those of an encoder, and the state that is taken of it is there.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Vit(vit) => vit.check(),
            _ => self.check_sizes(),
        }
    }

    /// Whether these sizes can be those of an encoder.
    pub(crate) fn check_sizes(&self) -> Result<(), String> {
        match self {
            Self::Vit(vit) => vit.check_sizes(),
            Self::Fused(fused) => fused.check(),
            Self::QwenVl(qwen) => qwen.check().map_err(|message| format!("`vision_config`: {message}")),
            Self::Mllama(mllama) => mllama.check().map_err(|message| format!("`vision_config`: {message}")),
            Self::Audio(audio) => audio.check().map_err(|message| format!("`audio_config`: {message}")),
        }
    }
}

impl VitConfig {
    fn check_sizes(&self) -> Result<(), String> {
        self.vision.check().map_err(|message| format!("`vision_config`: {message}"))
    }

    /// Whether there is such a tower, and such a state of it.
    fn check(&self) -> Result<(), String> {
        self.check_sizes()?;
        let (layer, blocks) = (i64::from(self.feature_layer), self.vision.num_hidden_layers as i64);
        if (-blocks - 1..=blocks).contains(&layer) {
            return Ok(());
        }
        Err(format!("`feature_layer` is {layer}, the tower has {blocks} blocks ({} to {blocks})", -blocks - 1))
    }
}

impl FusedConfig {
    fn check(&self) -> Result<(), String> {
        let [first, second] = [&self.first, &self.second];
        [first, second].into_iter().try_for_each(VitConfig::check)?;
        let side = first.vision.image_size;
        let own = second.vision.image_size;
        if own != side && !second.vision.takes_any_size() {
            return Err(format!("two towers see one picture: the first takes {side} pixels a side, the second {own}"));
        }
        let [ours, theirs] = [first, second].map(|vit| vit.features_at(side));
        if ours == theirs {
            return Ok(());
        }
        let [by, at] = [first, second].map(|vit| vit.vision.patch_size);
        Err(format!(
            "two towers see the same patches: of {side} pixels a side the first makes {ours} features, in patches of \
             {by} pixels, the second {theirs}, in patches of {at}"
        ))
    }
}

impl QwenVlVisionConfig {
    /// Whether these sizes can be those of a tower.
    pub fn check(&self) -> Result<(), String> {
        at_most("depth", self.num_hidden_layers, MAX_LAYERS)?;
        for (key, value) in [
            ("embed_dim", self.hidden_size),
            ("hidden_size", self.out_hidden_size),
            ("mlp_ratio", self.intermediate_size),
        ] {
            at_most(key, value, MAX_SIZE)?;
        }
        at_most("patch_size", self.patch_size, 256)?;
        heads("num_heads", self.num_attention_heads, "embed_dim", self.hidden_size)?;
        if self.patch_size == 0 || self.spatial_merge_size == 0 {
            return Err("`patch_size` or `spatial_merge_size` is 0".into());
        }
        if self.temporal_patch_size != 2 {
            return Err(format!(
                "`temporal_patch_size` is {}, all models of the family have 2",
                self.temporal_patch_size
            ));
        }
        at_most("spatial_merge_size", self.spatial_merge_size, 64)
    }
}

impl AudioConfig {
    /// Whether these sizes can be those of an encoder.
    pub fn check(&self) -> Result<(), String> {
        at_most("encoder_layers", self.num_hidden_layers, MAX_LAYERS)?;
        for (key, value) in [
            ("d_model", self.hidden_size),
            ("encoder_ffn_dim", self.intermediate_size),
            ("num_mel_bins", self.num_mel_bins),
            ("max_source_positions", self.max_source_positions),
        ] {
            at_most(key, value, MAX_SIZE)?;
        }
        heads("encoder_attention_heads", self.num_attention_heads, "d_model", self.hidden_size)
    }
}

impl MllamaVisionConfig {
    /// Whether these sizes can be those of a tower.
    pub fn check(&self) -> Result<(), String> {
        at_most("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        at_most("num_global_layers", self.num_global_layers, MAX_LAYERS)?;
        at_most("image_size", self.image_size, MAX_SIDE)?;
        at_most("max_num_tiles", self.max_num_tiles, MAX_TILES)?;
        at_most("supported_aspect_ratios", self.aspect_ratios.len(), MAX_TILES)?;
        for (key, value) in [("hidden_size", self.hidden_size), ("intermediate_size", self.intermediate_size)] {
            at_most(key, value, MAX_SIZE)?;
        }
        heads("attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        if self.patch_size == 0 {
            return Err("`patch_size` is 0".into());
        }
        let table = [self.num_ratio_ids(), self.max_num_tiles, self.num_tokens(), self.hidden_size];
        at_most("positions of all tiles", table.into_iter().fold(1, usize::saturating_mul), MAX_TABLE)?;
        epsilon("norm_eps", self.norm_eps)
    }
}

impl TextConfig {
    /// Whether these sizes can be those of a language model.
    pub fn check(&self) -> Result<(), String> {
        at_most("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            at_most(key, value, MAX_SIZE)?;
        }
        at_most("num_attention_heads * head_dim", self.num_attention_heads * self.head_dim, MAX_SIZE)?;
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!("`head_dim` is {}: rotary positions turn pairs of numbers", self.head_dim));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return Err(format!("`rope_theta` is {}, expected a number above 1", self.rope_theta));
        }
        at_most("max_position_embeddings * factor", self.context_length(), 4 * MAX_SIZE)?;
        epsilon("rms_norm_eps", self.rms_norm_eps)
    }
}

fn at_most(key: &str, value: usize, max: usize) -> Result<(), String> {
    if value <= max { Ok(()) } else { Err(format!("`{key}` is {value}: more than {max} is not believed")) }
}

/// The one divides the other, and is no zero.
fn heads(key: &str, heads: usize, of: &str, width: usize) -> Result<(), String> {
    let fits = heads > 0 && width.is_multiple_of(heads);
    if fits { Ok(()) } else { Err(format!("`{key}` ({heads}) does not divide `{of}` ({width})")) }
}

fn width_of_heads(heads: usize, head_dim: usize) -> Result<(), String> {
    if heads == 0 || head_dim == 0 {
        return Err(format!("{heads} heads of width {head_dim} are none"));
    }
    at_most("num_attention_heads * head_dim", heads.saturating_mul(head_dim), MAX_SIZE)
}

fn epsilon(key: &str, value: f64) -> Result<(), String> {
    let sane = value > 0.0 && value < 1.0;
    if sane { Ok(()) } else { Err(format!("`{key}` is {value}, expected a small number above 0")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::read_vlm;

    /// A model that no class of `transformers` has; its parts are read as they are written, without defaults.
    fn own() -> Value {
        json!({
            "model_type": "mmtrain_vlm",
            "mmtrain_encoder": { "kind": "vit", "feature_layer": -1, "feature_select": "full", "vision": {
                "family": { "dinov2": { "gated_mlp": false, "registers": 1 } }, "hidden_size": 8, "intermediate_size": 16,
                "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
                "layer_norm_eps": 1e-6, "hidden_act": "gelu" } },
            "mmtrain_connector": { "kind": "mlp", "depth": 2, "pixel_shuffle": 1, "act": "gelu", "bias": true },
            "text_config": { "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
                "num_hidden_layers": 2, "num_attention_heads": 2 },
            "image_token_id": 5,
        })
    }

    fn read(json: &Value) -> Result<(), String> {
        let dir = tempfile::tempdir().expect("temp dir");
        fs_err::write(dir.path().join("config.json"), json.to_string()).expect("written");
        read_vlm(dir.path()).map(drop).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(path: &str, value: &Value, words: &str) {
        let mut json = own();
        *json.pointer_mut(path).expect("it is there") = value.clone();
        let message = read(&json).expect_err(path);
        assert!(message.contains(words), "{path}: {message}");
    }

    #[test]
    fn sizes_of_mmtrains_own_file_are_believed_within_bounds_only() {
        assert_eq!(read(&own()), Ok(()));
        let vision = "/mmtrain_encoder/vision";
        refused(&format!("{vision}/num_attention_heads"), &json!(0), "`num_attention_heads` (0)");
        refused(&format!("{vision}/num_attention_heads"), &json!(3), "does not divide `hidden_size` (8)");
        refused(&format!("{vision}/family/dinov2/registers"), &json!(1_u64 << 40), "`num_register_tokens`");
        refused("/mmtrain_connector/depth", &json!(1_000_000_000), "`depth` is 1000000000");
        let perceiver = json!({ "kind": "perceiver", "num_latents": 4, "hidden_size": 8, "intermediate_size": 16,
            "depth": 1_000_000_000, "num_attention_heads": 2, "head_dim": 4 });
        refused("/mmtrain_connector", &perceiver, "`depth` is 1000000000");
        let cross = json!({ "kind": "cross_attention", "before_blocks": [0], "hidden_size": 8, "num_attention_heads": 2,
            "num_key_value_heads": 0, "head_dim": 4, "intermediate_size": 16, "hidden_act": "silu", "rms_norm_eps": 1e-5,
            "resampler": null, "unseen": "zeroed" });
        refused("/mmtrain_connector", &cross, "`num_key_value_heads` (0)");
    }
}
