//! What is trained in the rows of training: shapes and nothing else.

use mmtrain_media::{GridLayout, MediaLayout};
use mmtrain_model::config::{Activation, ConnectorConfig, EncoderConfig, MlpConfig, TextConfig, VitConfig, VlmConfig};
use mmtrain_model::params::Tuned;
use mmtrain_train::driver::Trained;

use crate::shapes::{clip, llava, model, qwen_vl_tower, qwen2_vl, siglip, small, smol, text_only, vicuna};

/// Everything.
const ALL: Trained = Trained { encoder: Tuned::Full, connector: Tuned::Full, decoder: Tuned::Full };
/// The connector.
const CONNECTOR: Trained = Trained { connector: Tuned::Full, ..Trained::NOTHING };
/// The decoder.
pub(crate) const DECODER: Trained = Trained { decoder: Tuned::Full, ..Trained::NOTHING };
/// Adapters in the decoder.
pub(crate) const ADAPTERS: Trained = Trained { decoder: Tuned::Adapters, ..Trained::NOTHING };

/// By how much text is shorter in small.
pub(crate) const SHORTER: usize = 8;

/// A step of training.
pub(crate) struct Job {
    pub(crate) model: VlmConfig,
    pub(crate) trained: Trained,
    pub(crate) rows: usize,
    pub(crate) seq: usize,
    /// Tokens at the end of each row that are learned.
    pub(crate) learned: usize,
    /// What stands at the beginning of each row, in turn.
    pub(crate) pictures: Vec<MediaLayout>,
}

impl Job {
    /// The same with a model a quarter as wide, of two blocks and few words, and two rows, those of text an eighth as long: to try it.
    pub(crate) fn in_small(self) -> Self {
        let shorter = if self.pictures.is_empty() { SHORTER } else { 1 };
        let (seq, learned) = (self.seq / shorter, self.learned / shorter);
        Self { model: smaller(self.model), rows: self.rows.min(2), seq, learned, ..self }
    }
}

/// As [`smaller_text`], its tower too.
pub(crate) fn smaller(model: VlmConfig) -> VlmConfig {
    let encoder = match model.encoder {
        EncoderConfig::Vit(mut vit) => {
            let tower = &mut vit.vision;
            tower.hidden_size /= 4;
            tower.intermediate_size /= 4;
            tower.num_hidden_layers = 2;
            EncoderConfig::Vit(vit)
        }
        EncoderConfig::QwenVl(mut tower) => {
            tower.hidden_size /= 4;
            tower.intermediate_size /= 4;
            tower.out_hidden_size /= 4;
            tower.num_hidden_layers = 2;
            EncoderConfig::QwenVl(tower)
        }
        other => other,
    };
    VlmConfig { encoder, text: smaller_text(model.text), ..model }
}

/// A quarter as wide, of two blocks and few words.
pub(crate) fn smaller_text(text: TextConfig) -> TextConfig {
    TextConfig {
        hidden_size: text.hidden_size / 4,
        intermediate_size: text.intermediate_size / 4,
        head_dim: text.head_dim / 4,
        mrope_section: text.mrope_section.map(|section| section.map(|pairs| pairs / 4)),
        num_hidden_layers: 2,
        vocab_size: 1024,
        ..text
    }
}

fn square(side: usize) -> Vec<MediaLayout> {
    vec![MediaLayout::Square { side: side as u32 }]
}

/// Rows of text.
fn text(config: TextConfig, trained: Trained, [rows, seq, learned]: [usize; 3]) -> Job {
    Job { model: text_only(config), trained, rows, seq, learned, pictures: Vec::new() }
}

/// A decoder of 34 M trained whole.
pub(crate) fn decoder(rows: usize) -> Job {
    text(small(), DECODER, [rows, 256, 256])
}

/// Caption alignment: ViT-B/16 and a decoder of 135 M frozen.
pub(crate) fn vlm(rows: usize) -> Job {
    Job { model: llava(siglip(), -1, smol()), trained: CONNECTOR, rows, seq: 256, learned: 60, pictures: square(224) }
}

/// LoRA in a decoder of 135 M.
pub(crate) fn lora(rows: usize) -> Job {
    text(smol(), ADAPTERS, [rows, 256, 64])
}

/// nanoVLM of 222 M, trained whole: SigLIP's ViT-B/16, squares of four patches through one linear layer, SmolLM2-135M.
pub(crate) fn nanovlm(rows: usize) -> Job {
    let mlp = MlpConfig { depth: 1, pixel_shuffle: 2, act: Activation::Gelu, bias: false };
    let encoder = EncoderConfig::Vit(VitConfig::new(siglip(), -1));
    Job {
        model: model(encoder, ConnectorConfig::Mlp(mlp), smol()),
        trained: ALL,
        rows,
        seq: 128,
        learned: 79,
        pictures: square(224),
    }
}

/// LLaVA-1.5-7B's first stage.
pub(crate) fn llava_align(rows: usize) -> Job {
    Job { model: llava(clip(), -2, vicuna()), trained: CONNECTOR, rows, seq: 626, learned: 50, pictures: square(336) }
}

/// LoRA in a decoder of 7 B, rows of 4,096 tokens.
pub(crate) fn lora_7b(rows: usize) -> Job {
    text(vicuna(), ADAPTERS, [rows, 4096, 1024])
}

/// Qwen2-VL-2B with its tower frozen and all else trained, pictures of four sizes.
pub(crate) fn qwen2_vl_sft(rows: usize) -> Job {
    let grid = |[height, width]: [u32; 2]| {
        MediaLayout::Grid(GridLayout { time: 1, height, width, patch_size: 14, merge: 2, frames: 2 })
    };
    let text = qwen2_vl();
    let tower = EncoderConfig::QwenVl(qwen_vl_tower(text.hidden_size));
    Job {
        model: model(tower, ConnectorConfig::Merger, text),
        trained: Trained { connector: Tuned::Full, decoder: Tuned::Full, ..Trained::NOTHING },
        rows,
        seq: 512,
        learned: 128,
        pictures: [[32, 32], [24, 24], [24, 40], [40, 28]].map(grid).to_vec(),
    }
}
