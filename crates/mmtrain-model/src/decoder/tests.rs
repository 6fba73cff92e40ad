use super::positions::{Grid, Placeholders, Positions};
use super::*;
use crate::attention::Mask;
use crate::config::{SlidingWindow, TextFamily};
use crate::init::init_param;
use crate::params::{Part, assign};
use burn::tensor::{DType, TensorData};

/// Three blocks, of which the middle one has a window of four keys.
fn config(family: TextFamily) -> TextConfig {
    TextConfig {
        vocab_size: 20,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        sliding_window: Some(SlidingWindow { size: 4, blocks: vec![false, true, false] }),
        ..TextConfig::class_defaults(family)
    }
}

fn random(config: &TextConfig) -> Decoder {
    let zeros = Decoder::new(config, &Device::flex());
    assign(zeros, Part::Decoder, &mut |info| Some(init_param(info, 3, config.num_hidden_layers) * 1.5))
}

/// `[1, seq, 16]`
fn states(seq: usize) -> Tensor<3> {
    let values = (0..seq * 16).map(|i| ((i * 29 % 31) as f32 - 15.0) / 11.0).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [1, seq, 16]), &Device::flex())
}

fn worst(a: &Tensor<3>, b: &Tensor<3>) -> f32 {
    (a.clone() - b.clone()).abs().max().into_scalar()
}

fn whole(decoder: &Decoder, config: &TextConfig, x: Tensor<3>) -> Tensor<3> {
    let seq = x.dims()[1];
    decoder.blocks(x, &DecoderContext::for_training(config, seq, &Device::flex()))
}

#[test]
fn pieces_through_the_cache_give_the_states_of_the_whole() {
    for family in TextFamily::ALL {
        let config = config(family);
        let decoder = random(&config);
        let expected = whole(&decoder, &config, states(11));
        let mut cache = KvCache::new(&config, 1, 11, DType::F32, &Device::flex());
        let mut found = Vec::new();
        for piece in [5, 1, 3, 1, 1] {
            let start = cache.len();
            let context = DecoderContext::for_generation(&config, start, piece, &Device::flex());
            let x = states(11).slice_dim(1, start..start + piece);
            found.push(decoder.blocks_between(x, &context, Some(&mut cache), |_, x| x));
        }
        let difference = worst(&Tensor::cat(found, 1), &expected);
        // A single query is not computed by the kernel for several.
        assert!(difference < 2e-5, "{family:?}: {difference}");
    }
}

#[test]
fn a_window_changes_what_lies_behind_it_and_nothing_before() {
    let windowed = config(TextFamily::Mistral);
    let open = TextConfig { sliding_window: None, ..windowed.clone() };
    let decoders = [&windowed, &open].map(|config| whole(&random(config), config, states(11)));
    let at = |position: usize| {
        let [a, b] = decoders.each_ref().map(|states| states.clone().slice_dim(1, position..position + 1));
        worst(&a, &b)
    };
    assert!((0..4).all(|position| at(position) == 0.0));
    assert!((4..11).all(|position| at(position) > 1e-3));
}

#[test]
fn packed_sequences_get_the_states_that_they_get_alone() {
    for family in TextFamily::ALL {
        let config = config(family);
        let decoder = random(&config);
        let x = states(12);
        let context = DecoderContext::packed(&config, &[vec![6, 5]], 12, &Device::flex());
        let packed = decoder.blocks(x.clone(), &context);
        for sequence in [0..6, 6..11] {
            let alone = whole(&decoder, &config, x.clone().slice_dim(1, sequence.clone()));
            let difference = worst(&packed.clone().slice_dim(1, sequence.clone()), &alone);
            assert!(difference < 1e-5, "{family:?}, {sequence:?}: {difference}");
        }
    }
}

#[test]
fn text_at_three_axes_is_text_and_a_picture_is_not() {
    let config = TextConfig { mrope_section: Some([1, 1, 2]), sliding_window: None, ..config(TextFamily::Qwen2) };
    let decoder = random(&config);
    let expected = whole(&decoder, &config, states(8));
    let qwen = Placeholders { image: 100, video: 101, merge: 1 };
    let run = |ids: &[i32], images: &[Grid]| {
        let positions = Positions::of(ids, &qwen, images, &[]).expect("they fit");
        let mask = Mask::causal(8, 8, &Device::flex());
        let context = DecoderContext::multimodal(&config, &[vec![(0, positions)]], 8, mask, &Device::flex());
        decoder.blocks(states(8), &context)
    };
    assert!(worst(&run(&[1; 8], &[]), &expected) < 1e-6);
    let grid = Grid { frames: 1, height: 2, width: 3 };
    assert!(worst(&run(&[1, 100, 100, 100, 100, 100, 100, 1], &[grid]), &expected) > 1e-3);
}

#[test]
fn blocks_are_cast_once_and_tables_are_left() {
    let decoder = random(&config(TextFamily::Qwen2)).with_blocks_in(DType::BF16);
    for param in crate::params::named(&decoder, Part::Decoder) {
        let is_table = ["embed_tokens", "lm_head"].iter().any(|table| param.info.name.contains(table));
        let expected = if is_table { DType::F32 } else { DType::BF16 };
        assert_eq!(param.value.dtype(), expected, "{}", param.info.name);
    }
}
