//! Estimates of memory count what is between the decoder's blocks.

use burn::prelude::Device;
use mmtrain_config::Recompute;
use mmtrain_model::Vlm;
use mmtrain_model::config::{ConnectorConfig, CrossAttentionConfig, VlmConfig};
use mmtrain_model::params::Part;

use super::sizes::{cross_attention, llama, model_config, resampled, siglip};
use super::whole::ALL;
use crate::memory::{Copies, KeepPlan, MemoryEstimate, MicroShape, estimate, keep_plan};

const SHAPE: MicroShape = MicroShape {
    batch: 2,
    seq: 10,
    images: 3,
    ranks: 1,
    passes: 1,
    scores: true,
    width: 4,
    copies: Copies { encoder: 0, decoder: 0 },
};

fn activations(config: &VlmConfig, decoder: usize) -> u64 {
    let keep = KeepPlan { encoder: 0, decoder };
    estimate(&Vlm::zeros(config, &Device::flex()), ALL, SHAPE, keep, 8).activations
}

/// The model, and how many keys a picture has.
fn models() -> [(VlmConfig, usize); 2] {
    let text = llama();
    [(cross_attention(&text), 4), (resampled(&text), 0)].map(|(cross, keys)| {
        let keys = cross.resampler.as_ref().map_or(keys, |resampler| resampler.num_latents);
        (model_config(&siglip(), &ConnectorConfig::CrossAttention(cross), &text).expect("they go together"), keys)
    })
}

/// One more layer is one more block input, and, where it is kept, a tape of its width, its keys and its scores.
#[test]
fn a_layer_between_blocks_has_an_input_and_a_tape() {
    for (all, keys) in models() {
        let ConnectorConfig::CrossAttention(mut cross) = all.connector.clone() else { panic!("cross-attention") };
        let last = cross.before_blocks.pop().expect("several layers");
        let one_less = VlmConfig { connector: ConnectorConfig::CrossAttention(cross.clone()), ..all.clone() };
        let input = 4 * SHAPE.batch * SHAPE.seq * cross.hidden_size;
        let grown = |kept| (activations(&all, kept) - activations(&one_less, kept)) as usize;
        assert_eq!(grown(last + 1), input + tape(&cross, keys), "a layer before a kept block");
        assert_eq!(grown(0), input, "recomputed, one tape at a time");
    }
}

#[test]
fn every_parameter_of_the_layers_is_counted() {
    for (config, _) in models() {
        let model = Vlm::zeros(&config, &Device::flex());
        let elements = Part::ALL.iter().flat_map(|&part| model.infos(part));
        let bytes = elements.map(|info| 4 * info.elements() as u64).sum::<u64>();
        let MemoryEstimate { weights, gradients, optimizer, .. } =
            estimate(&model, ALL, SHAPE, KeepPlan { encoder: 0, decoder: 0 }, 8);
        assert_eq!([weights, gradients, optimizer], [bytes, bytes, 2 * bytes]);
        assert!(model.infos(Part::Connector).iter().any(|info| info.name.contains("layers.1.")));
    }
}

#[test]
fn a_budget_is_spent_on_blocks_with_the_layers_before_them() {
    let [(config, keys), _] = models();
    let ConnectorConfig::CrossAttention(cross) = &config.connector else { panic!("cross-attention") };
    assert_eq!(cross.before_blocks, [0, 2]);
    let (text, tokens) = (&config.text, SHAPE.batch * SHAPE.seq);
    let scores = 4 * SHAPE.batch * text.num_attention_heads * SHAPE.seq * SHAPE.seq;
    let block = 4 * (tokens * (10 * text.hidden_size + 2 * text.intermediate_size) + scores);
    let first = (block + tape(cross, keys)) as u64;
    let kept = |budget| keep_plan(&config, SHAPE, ALL, Recompute::Auto, budget).decoder;
    assert_eq!([kept(first - 1), kept(first), kept(first + block as u64), kept(1 << 40)], [0, 1, 2, 3]);
}

/// The tape of one layer, in bytes: 14 tensors of the stream's width and 5 of the MLP's, 6 of each key's, 4 of scores over
/// rows that are filled up to as many pictures each.
fn tape(cross: &CrossAttentionConfig, keys: usize) -> usize {
    let (tokens, pictures) = (SHAPE.batch * SHAPE.seq, SHAPE.images * keys);
    let of_tokens = tokens * (14 * cross.hidden_size + 5 * cross.intermediate_size);
    let of_keys = 6 * pictures * cross.num_attention_heads * cross.head_dim;
    let of_rows = SHAPE.batch * SHAPE.images.div_ceil(SHAPE.batch) * keys;
    4 * (of_tokens + of_keys + 4 * of_rows * cross.num_attention_heads * SHAPE.seq)
}
