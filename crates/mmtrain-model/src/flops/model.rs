//! What a step over a whole model needs: every linear layer by its shape, and attention by the lengths that it sees.

use crate::Vlm;
use crate::config::{ConnectorConfig, CrossAttentionConfig, EncoderConfig, PerceiverConfig, VlmConfig};
use crate::params::{ParamInfo, Part, Tuned, block_of};

/// What a micro-batch puts through a model. Sums over its rows and media.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Rows.
    pub rows: f64,
    /// Tokens of each row, fill included.
    pub seq: f64,
    /// Tokens that are learned.
    pub learned: f64,
    /// Tiles, clips' frames and chunks of sound.
    pub tiles: f64,
    /// Patches or frames of sound in the encoder's blocks.
    pub positions: f64,
    /// Pairs of positions of the encoder that may see each other.
    pub position_pairs: f64,
    /// Placeholders of media.
    pub media_tokens: f64,
}

impl Load {
    fn tokens(&self) -> f64 {
        self.rows * self.seq
    }
}

/// Floating-point operations, part by part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ModelFlops {
    /// Of the encoder.
    pub encoder: f64,
    /// Of the connector, wherever its layers stand.
    pub connector: f64,
    /// Of the decoder's blocks.
    pub decoder: f64,
    /// Of the output projection.
    pub head: f64,
}

impl ModelFlops {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.encoder + self.connector + self.decoder + self.head
    }

    /// Each times a factor.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let Self { encoder, connector, decoder, head } = *self;
        Self {
            encoder: factor * encoder,
            connector: factor * connector,
            decoder: factor * decoder,
            head: factor * head,
        }
    }

    /// Added up, part by part.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            encoder: self.encoder + other.encoder,
            connector: self.connector + other.connector,
            decoder: self.decoder + other.decoder,
            head: self.head + other.head,
        }
    }
}

/// Forward and backward over one micro-batch, every block once each way; what a block that keeps no graph does again is left out.
///
/// A gradient passes through whatever stands behind the first thing that is trained; weights get one where they are trained.
pub fn step(model: &Vlm, tuned: impl Fn(Part) -> Tuned, load: &Load) -> ModelFlops {
    let [encoder, connector, decoder] = Part::ALL.map(|part| Course::new(tuned(part)));
    let connector = connector.behind(&encoder);
    let decoder = decoder.behind(&connector);
    let infos = Part::ALL.map(|part| model.infos(part));
    let config = &model.config;
    let tokens = load.tokens();
    ModelFlops {
        encoder: encoder.products(&infos[0], |_| load.positions) + encoder.attention(encoder_attention(config, load)),
        connector: connector.products(&infos[1], |info| applications(&config.connector, info, load))
            + connector.attention(connector_attention(&config.connector, load)),
        decoder: decoder.products(&infos[2], |info| if is_head(info) { 0.0 } else { tokens })
            + decoder.attention(decoder_attention(config, load)),
        head: head(config, &infos[2], &decoder, load),
    }
}

/// What of a part is trained, and whether something before it is.
struct Course {
    tuned: Tuned,
    is_behind: bool,
}

impl Course {
    fn new(tuned: Tuned) -> Self {
        Self { tuned, is_behind: false }
    }

    fn behind(self, before: &Self) -> Self {
        Self { is_behind: before.is_behind || before.tuned.is_trained(), ..self }
    }

    /// Whether a gradient goes through the layer of a parameter.
    fn passes(&self, info: &ParamInfo) -> bool {
        let is_within = match self.tuned {
            Tuned::Frozen => false,
            Tuned::Full | Tuned::Adapters => true,
            Tuned::From(first) => block_of(&info.name).is_some_and(|block| block >= first),
        };
        self.is_behind || is_within
    }

    /// Products with the matrices of linear layers, each applied as often as `applied` says.
    fn products(&self, infos: &[ParamInfo], applied: impl Fn(&ParamInfo) -> f64) -> f64 {
        let of = |info: &ParamInfo| {
            let products = 1 + u8::from(self.passes(info)) + u8::from(self.tuned.trains(info));
            2.0 * info.elements() as f64 * applied(info) * f64::from(products)
        };
        infos.iter().filter(|info| info.decays()).map(of).sum()
    }

    /// The two products of attention, which have two gradients each.
    fn attention(&self, forward: f64) -> f64 {
        let has_gradient = self.is_behind || self.tuned.is_trained();
        forward * if has_gradient { 3.0 } else { 1.0 }
    }
}

fn is_head(info: &ParamInfo) -> bool {
    info.name.ends_with("lm_head.weight")
}

/// The output projection, also where it is the table of embeddings, of what is learned.
fn head(config: &VlmConfig, infos: &[ParamInfo], decoder: &Course, load: &Load) -> f64 {
    let weights = (config.text.hidden_size * config.text.vocab_size) as f64;
    let own = infos.iter().find(|info| is_head(info) || info.name.ends_with("embed_tokens.weight"));
    let is_trained = own.is_some_and(|info| decoder.tuned.trains(info));
    let has_gradient = decoder.is_behind || decoder.tuned.is_trained();
    2.0 * weights * load.learned * f64::from(1 + u8::from(has_gradient) + u8::from(is_trained))
}

fn decoder_attention(config: &VlmConfig, load: &Load) -> f64 {
    let text = &config.text;
    4.0 * (text.num_hidden_layers * text.num_attention_heads * text.head_dim) as f64 * load.tokens() * load.seq
}

fn encoder_attention(config: &VlmConfig, load: &Load) -> f64 {
    let [hidden, ..] = config.encoder.block_sizes();
    4.0 * (config.encoder.num_layers() * hidden) as f64 * load.position_pairs
}

/// How often a connector's layer is applied.
fn applications(connector: &ConnectorConfig, info: &ParamInfo, load: &Load) -> f64 {
    match connector {
        ConnectorConfig::Mlp(_) | ConnectorConfig::Merger => load.media_tokens,
        ConnectorConfig::QFormer(_) => {
            let ends = ["crossattention.attention.key.weight", "crossattention.attention.value.weight"];
            if ends.iter().any(|end| info.name.ends_with(end)) { load.positions } else { load.media_tokens }
        }
        ConnectorConfig::Perceiver(_) => of_perceiver(info, load.media_tokens, load),
        ConnectorConfig::CrossAttention(cross) => match &cross.resampler {
            _ if info.name.contains(".layers.") => {
                if reads_memory(info) {
                    keys(cross, load)
                } else {
                    load.tokens()
                }
            }
            Some(_) => of_perceiver(info, keys(cross, load), load),
            None => load.positions,
        },
    }
}

/// Keys and values of what is attended to.
fn reads_memory(info: &ParamInfo) -> bool {
    ["k_proj.weight", "v_proj.weight"].iter().any(|end| info.name.ends_with(end))
}

fn of_perceiver(info: &ParamInfo, latents: f64, load: &Load) -> f64 {
    let name = info.name.as_str();
    if name.ends_with("features_projection.weight") {
        load.positions
    } else if reads_memory(info) {
        load.positions + latents
    } else {
        latents
    }
}

/// Keys that the layers between the decoder's blocks see of all media.
fn keys(cross: &CrossAttentionConfig, load: &Load) -> f64 {
    cross.resampler.as_ref().map_or(load.positions, |resampler| resampler.num_latents as f64 * load.tiles)
}

/// Forward.
fn connector_attention(connector: &ConnectorConfig, load: &Load) -> f64 {
    let per_tile = |sum: f64| sum / load.tiles.max(1.0);
    let perceiver = |perceiver: &PerceiverConfig, latents: f64| {
        let width = (perceiver.depth * perceiver.num_attention_heads * perceiver.head_dim) as f64;
        4.0 * width * latents * per_tile(load.positions + latents)
    };
    match connector {
        ConnectorConfig::Mlp(_) | ConnectorConfig::Merger => 0.0,
        ConnectorConfig::QFormer(q_former) => {
            let (layers, queries) = (q_former.num_hidden_layers, load.media_tokens);
            let reading = (0..layers).filter(|&layer| q_former.attends_to_features(layer)).count();
            let pairs = layers as f64 * per_tile(queries) + reading as f64 * per_tile(load.positions);
            4.0 * q_former.hidden_size as f64 * queries * pairs
        }
        ConnectorConfig::Perceiver(config) => perceiver(config, load.media_tokens),
        ConnectorConfig::CrossAttention(cross) => {
            let width = (cross.num_layers() * cross.num_attention_heads * cross.head_dim) as f64;
            let (keys, rows) = (keys(cross, load), load.rows.max(1.0));
            let resampled = cross.resampler.as_ref().map_or(0.0, |config| perceiver(config, keys));
            4.0 * width * load.tokens() * keys / rows + resampled
        }
    }
}

impl EncoderConfig {
    /// Values of the input that become one position of the blocks: a patch, or as many frames of a spectrogram.
    pub fn values_per_position(&self) -> usize {
        match self {
            Self::Vit(vit) => 3 * vit.vision.patch_size.pow(2),
            Self::Fused(fused) => 3 * fused.first.vision.patch_size.pow(2),
            Self::QwenVl(qwen) => 3 * qwen.temporal_patch_size * qwen.patch_size.pow(2),
            Self::Mllama(mllama) => 3 * mllama.patch_size.pow(2),
            Self::Audio(audio) => 2 * audio.num_mel_bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::prelude::Device;

    use super::*;
    use crate::config::{
        Activation, MlpConfig, QFormerConfig, TextConfig, TextFamily, VisionConfig, VisionFamily, VitConfig,
    };
    use crate::flops::{self, Pass};

    const LOAD: Load =
        Load { rows: 2.0, seq: 8.0, learned: 5.0, tiles: 2.0, positions: 8.0, position_pairs: 32.0, media_tokens: 8.0 };

    fn vision() -> VisionConfig {
        VisionConfig {
            family: VisionFamily::Siglip,
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 3,
            num_attention_heads: 2,
            image_size: 8,
            patch_size: 4,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::GeluTanh,
        }
    }

    fn text() -> TextConfig {
        TextConfig {
            vocab_size: 40,
            hidden_size: 12,
            intermediate_size: 20,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 3,
            tie_word_embeddings: true,
            ..TextConfig::class_defaults(TextFamily::Llama)
        }
    }

    fn model(connector: ConnectorConfig) -> Vlm {
        let config = VlmConfig {
            encoder: EncoderConfig::Vit(VitConfig::new(vision(), -1)),
            connector,
            text: text(),
            image_token_id: 3,
            video_token_id: None,
            image_grid_pinpoints: None,
            vision_bounds: None,
        };
        Vlm::zeros(&config, &Device::flex())
    }

    fn mlp() -> ConnectorConfig {
        ConnectorConfig::Mlp(MlpConfig { depth: 2, pixel_shuffle: 1, act: Activation::Gelu, bias: true })
    }

    fn count(model: &Vlm, trained: &[Part]) -> ModelFlops {
        step(model, |part| if trained.contains(&part) { Tuned::Full } else { Tuned::Frozen }, &LOAD)
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6 * expected, "{found}, not {expected}");
    }

    #[test]
    fn parts_cost_what_their_shapes_say() {
        let model = model(mlp());
        let connector = 2.0 * 8.0 * (8.0 * 12.0 + 12.0 * 12.0);
        let frozen = count(&model, &[]);
        close(frozen.encoder, flops::vit(&vision(), 2, Pass::Forward));
        close(frozen.connector, connector);
        close(frozen.decoder, flops::decoder(&text(), 2, 8, Pass::Forward));
        close(frozen.head, flops::head(&text(), 5, Pass::Forward));
        let aligned = count(&model, &[Part::Connector]);
        close(aligned.encoder, frozen.encoder);
        close(aligned.connector, 3.0 * connector);
        close(aligned.decoder, flops::decoder(&text(), 2, 8, Pass::Through));
        close(aligned.head, flops::head(&text(), 5, Pass::Through));
        let whole = count(&model, &Part::ALL);
        close(whole.total(), 3.0 * frozen.total());
    }

    #[test]
    fn the_first_blocks_of_a_tower_trained_from_one_on_are_passed_once() {
        let model = model(mlp());
        let from = |block| {
            let tuned = |part| if part == Part::Encoder { Tuned::From(block) } else { Tuned::Frozen };
            step(&model, tuned, &LOAD).encoder
        };
        let stem = 2.0 * 8.0 * (3.0 * 4.0 * 4.0 * 8.0);
        close(count(&model, &[Part::Encoder]).encoder - from(0), 2.0 * stem);
        let block = 2.0 * 8.0 * (4.0 * 8.0 * 8.0 + 2.0 * 8.0 * 12.0);
        close(from(0) - from(2), 2.0 * 2.0 * block);
    }

    #[test]
    fn queries_read_features_and_layers_between_blocks_read_a_memory() {
        let q_former = QFormerConfig {
            num_queries: 2,
            hidden_size: 6,
            intermediate_size: 10,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            cross_attention_frequency: 2,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            instruction: None,
        };
        let load = Load { media_tokens: 4.0, ..LOAD };
        let reading = step(&model(ConnectorConfig::QFormer(q_former)), |_| Tuned::Frozen, &load).connector;
        // A query: attention to each other, an MLP and, in the first layer, two of four matrices to the features; out.
        let query = 2.0 * (4.0 * 36.0 + 2.0 * 60.0) + 2.0 * 36.0 + 6.0 * 12.0;
        let attention = 4.0 * 6.0 * 4.0 * (2.0 * 2.0 + 4.0);
        close(reading, 2.0 * (4.0 * query + 8.0 * 2.0 * 6.0 * 8.0) + attention);

        let cross = CrossAttentionConfig::beside(&text(), vec![0, 2]);
        let load = Load { media_tokens: 2.0, ..LOAD };
        let between = step(&model(ConnectorConfig::CrossAttention(cross)), |_| Tuned::Frozen, &load).connector;
        let token = 2.0 * 12.0 * 12.0 + 3.0 * 12.0 * 20.0;
        let key = 2.0 * 12.0 * 6.0;
        // Each token sees the four keys of its row: a score and a sum a head.
        let layers = 2.0 * (16.0 * token + 8.0 * key + 2.0 * 12.0 * 16.0 * 4.0);
        close(between, 2.0 * (8.0 * 8.0 * 12.0 + layers));
    }
}
