//! Mllama's cross-attention layer, and what its tokens see.

use super::*;
use crate::attention::{attention, merge_heads};
use crate::config::{CrossAttentionConfig, Unseen};
use crate::init::init_param;
use crate::params::assign;

/// Of the fixture: tokens, and keys of a tile.
const TOKENS: usize = 7;
const KEYS: usize = 3;

fn config() -> CrossAttentionConfig {
    CrossAttentionConfig {
        before_blocks: vec![1, 3],
        hidden_size: HIDDEN,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 5,
        intermediate_size: 28,
        hidden_act: Activation::Silu,
        rms_norm_eps: 1e-5,
        resampler: None,
        unseen: Unseen::MllamaAll,
    }
}

fn layer() -> (CrossAttentionLayer, TensorFile) {
    let dir = case("cross_attention");
    let layer = load(CrossAttentionLayer::new(&config(), &Device::flex()), &dir);
    (layer, TensorFile::open(&dir.join("io.safetensors")).expect("io"))
}

/// The recorded table for some of the tokens.
fn mask(io: &TensorFile, tokens: std::ops::Range<usize>, unseen: Unseen) -> MemoryMask {
    let table = read::<4>(io, "in.mask").slice_dim(1, tokens);
    let (shape, values) = (table.dims(), table.into_data().try_to_vec::<f32>().expect("f32"));
    let seen = values.into_iter().map(|seen| seen > 0.0).collect();
    MemoryMask::from_dense(seen, shape, KEYS, unseen, &Device::flex()).expect("a mask")
}

#[test]
fn a_layer_equals_transformers() {
    let (layer, io) = layer();
    let leaf = leaves(&layer);
    let input = |name: &str| read::<3>(&io, name).autodiff().require_grad();
    let (x, memory) = (input("in.x"), input("in.memory"));
    let out = leaf.forward(x.clone(), memory.clone(), &mask(&io, 0..TOKENS, Unseen::MllamaAll));
    let error = difference(out.clone().inner(), read(&io, "out.x"));
    assert!(error <= 2e-5, "outputs differ by {error:e}");

    let mut tape = (out * read::<3>(&io, "in.weights").autodiff()).sum().backward();
    for (name, tensor) in [("x", x), ("memory", memory)] {
        let gradient = tensor.grad_remove(&mut tape).expect("a gradient");
        close(name, gradient.reshape([-1]), read::<3>(&io, &format!("out.{name}_grad")).reshape([-1]));
    }
    check_gradients(&leaf, &case("cross_attention"), &mut tape);
}

#[test]
fn zeroed_changes_only_tokens_that_see_no_medium() {
    let (layer, io) = layer();
    let x = read::<3>(&io, "in.x");
    let out = layer.forward(x.clone(), read(&io, "in.memory"), &mask(&io, 0..TOKENS, Unseen::Zeroed));
    let blind = |x: Tensor<3>| x.slice([0..1, 0..1]).into_data();
    let rest = |x: Tensor<3>| x.reshape([2 * TOKENS, HIDDEN]).slice_dim(0, 1..2 * TOKENS);
    assert_eq!(blind(out.clone()), blind(x.clone()));
    assert_ne!(blind(read(&io, "out.x")), blind(x));
    assert!(difference(rest(out), rest(read(&io, "out.x"))) <= 2e-5);
}

#[test]
fn tokens_one_by_one_read_the_same_keys_and_values() {
    let (layer, io) = layer();
    for unseen in [Unseen::Zeroed, Unseen::MllamaAll] {
        let (x, memory) = (read::<3>(&io, "in.x"), read::<3>(&io, "in.memory"));
        let whole = layer.forward(x.clone(), memory.clone(), &mask(&io, 0..TOKENS, unseen));
        let memory = layer.keys_values(memory);
        let token =
            |at: usize| layer.forward_cached(x.clone().slice_dim(1, at..=at), &memory, &mask(&io, at..at + 1, unseen));
        let single = Tensor::cat((0..TOKENS).map(token).collect(), 1);
        assert!(difference(single, whole) <= 1e-6);
    }
}

#[test]
fn a_fresh_layer_is_the_identity() {
    let layer = CrossAttentionLayer::new(&config(), &Device::flex());
    let fresh = assign(layer, Part::Connector, &mut |info| Some(init_param(info, 3, 2)));
    let (_, io) = self::layer();
    let x = read::<3>(&io, "in.x");
    let out = fresh.forward(x.clone(), read(&io, "in.memory"), &mask(&io, 0..TOKENS, Unseen::MllamaAll));
    assert_eq!(out.into_data(), x.into_data());
    let weights: f32 = fresh.cross_attn.q_proj.weight.base().abs().max().into_scalar();
    assert!(weights > 0.0, "only the gates start at zero");
}

/// A share for each medium that a token sees, zero for the others. `[rows, tokens, media]`
fn shares(mask: &MemoryMask, rows: usize, tokens: usize, media: usize) -> Tensor<3> {
    let zeros = |length| Tensor::zeros([rows, 1, length, media], &Device::flex());
    let which = Tensor::<2>::eye(media, &Device::flex()).expand([rows, 1, media, media]);
    mask.of_attention(merge_heads(attention(zeros(tokens), zeros(media), which, Some(mask.attention()))))
}

/// A medium of one run of keys.
fn one_run(marker: usize) -> MediumPlace {
    MediumPlace { marker, from: 0, until: usize::MAX, runs: Runs { count: 1, of_a_canvas: 1, seen: 1 } }
}

/// Positions of the markers of each row, and what `processing_mllama.py` lets each token see.
fn recorded_places() -> (MediaPlaces, Tensor<3>) {
    let io = TensorFile::open(&case("latest_media").join("io.safetensors")).expect("io");
    let markers = io.read("in.markers").expect("recorded");
    let row = |row: &[f32]| (0..row.len()).filter(|&at| row[at] > 0.0).map(one_run).collect::<Vec<_>>();
    let rows = markers.values.chunks_exact(markers.shape[1]).map(row).collect();
    (MediaPlaces::new(rows).expect("ascending"), read(&io, "out.mask"))
}

#[test]
fn a_token_sees_the_latest_group_of_media_as_in_transformers() {
    let (places, expected) = recorded_places();
    let [rows, tokens, media] = expected.dims();
    let sees = |x: Tensor<3>| x.greater_elem(0.0).into_data();
    let whole = MemoryMask::latest(&places, 1, 0..tokens, Unseen::Zeroed, &Device::flex());
    assert_eq!(sees(shares(&whole, rows, tokens, media)), sees(expected.clone()));
    for at in 0..tokens {
        let new = MemoryMask::latest(&places, 1, at..at + 1, Unseen::Zeroed, &Device::flex());
        assert_eq!(sees(shares(&new, rows, 1, media)), sees(expected.clone().slice_dim(1, at..=at)));
    }
}

#[test]
fn tokens_behind_the_text_see_what_its_last_token_sees() {
    let (places, expected) = recorded_places();
    let [rows, tokens, media] = expected.dims();
    let later = MemoryMask::latest(&places, 1, tokens + 5..tokens + 6, Unseen::Zeroed, &Device::flex());
    let later = shares(&later, rows, 1, media).greater_elem(0.0).into_data();
    assert_eq!(later, expected.slice_dim(1, tokens - 1..tokens).greater_elem(0.0).into_data());
}

#[test]
fn a_row_without_media_sees_nothing_of_the_other_rows() {
    let (layer, io) = layer();
    let places = MediaPlaces::new(vec![vec![one_run(0), one_run(3)], vec![]]).expect("ascending");
    let media = read::<3>(&io, "in.memory").slice_dim(0, 0..1).reshape([2, 6, HIDDEN]);
    let out = |media: Tensor<3>, unseen| {
        let memory = places.memories(media);
        let mask = MemoryMask::latest(&places, 6, 0..TOKENS, unseen, &Device::flex());
        layer.forward(read::<3>(&io, "in.x"), memory, &mask)
    };
    let text = |out: Tensor<3>| out.slice_dim(0, 1..2).into_data();
    assert_eq!(text(out(media.clone(), Unseen::Zeroed)), text(read(&io, "in.x")));
    let (one, other) = (out(media.clone(), Unseen::MllamaAll), out(media * 2.0 + 1.0, Unseen::MllamaAll));
    assert_eq!(text(one.clone()), text(other.clone()));
    assert!(difference(one, other) > 1e-3, "row 0 reads its media");
}

#[test]
fn media_are_laid_into_their_rows_and_the_rest_is_filled_with_zeros() {
    let places = MediaPlaces::new(vec![vec![one_run(4)], vec![], vec![one_run(1), one_run(2)]]).expect("ascending");
    let media = Tensor::<3>::from_data([[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]]], &Device::flex());
    let memories = places.memories(media);
    assert_eq!(places.keys_per_run(&memories), 2);
    let memories = memories.into_data().try_to_vec::<f32>().expect("f32");
    assert_eq!(memories, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn samples_of_a_row_see_their_own_media_only() {
    // Media at 1 and 2, a sample of text from 4 on, and one from 6 on whose medium stands at 6, directly behind it.
    let first = |marker| MediumPlace { until: 4, ..one_run(marker) };
    let last = MediumPlace { from: 6, ..one_run(6) };
    let places = MediaPlaces::new(vec![vec![first(1), first(2), last]]).expect("ascending");
    let seen = |unseen| {
        let mask = MemoryMask::latest(&places, 1, 0..8, unseen, &Device::flex());
        let shares = shares(&mask, 1, 8, 4).greater_elem(0.0).into_data().try_to_vec::<bool>().expect("bool");
        let token = |token: &[bool]| token.iter().map(|&seen| if seen { 'x' } else { '.' }).collect::<String>();
        shares.chunks_exact(4).map(token).collect::<Vec<_>>()
    };
    assert_eq!(seen(Unseen::Zeroed), ["....", "x...", "xx..", "xx..", "....", "....", "..x.", "..x."]);
    // Mllama's habit: what sees nothing reads all of its sample, here zeros where that has no medium.
    assert_eq!(seen(Unseen::MllamaAll), ["xx..", "x...", "xx..", "xx..", "...x", "...x", "..x.", "..x."]);
}

#[test]
fn of_a_medium_in_tiles_those_that_are_padding_are_not_seen() {
    let tiled = MediumPlace { runs: Runs { count: 3, of_a_canvas: 3, seen: 2 }, ..one_run(1) };
    let places = MediaPlaces::new(vec![vec![tiled, one_run(3)]]).expect("ascending");
    let mask = MemoryMask::latest(&places, 1, 0..4, Unseen::Zeroed, &Device::flex());
    let seen = shares(&mask, 1, 4, 4).greater_elem(0.0).into_data().try_to_vec::<bool>().expect("bool");
    let expected = ["....", "xx..", "xx..", "...x"].concat().chars().map(|seen| seen == 'x').collect::<Vec<_>>();
    assert_eq!(seen, expected);
}

#[test]
fn of_each_frame_of_a_clip_the_first_tile_is_seen() {
    let clip = MediumPlace { runs: Runs { count: 4, of_a_canvas: 2, seen: 1 }, ..one_run(1) };
    let places = MediaPlaces::new(vec![vec![clip]]).expect("one");
    let mask = MemoryMask::latest(&places, 1, 0..3, Unseen::Zeroed, &Device::flex());
    let seen = shares(&mask, 1, 3, 4).greater_elem(0.0).into_data().try_to_vec::<bool>().expect("bool");
    assert_eq!(seen, ["....", "x.x.", "x.x."].concat().chars().map(|seen| seen == 'x').collect::<Vec<_>>());
}

#[test]
fn places_and_tables_that_fit_nothing_are_errors() {
    let error = MediaPlaces::new(vec![vec![one_run(1)], vec![one_run(4), one_run(3)]]);
    let error = error.expect_err("not in order").to_string();
    assert!(error.contains("row 1 do not stand"), "{error}");
    let table = |values, shape| MemoryMask::from_dense(vec![true; values], shape, 4, Unseen::Zeroed, &Device::flex());
    assert!(table(12, [1, 3, 2, 2]).is_ok());
    assert!(table(11, [1, 3, 2, 2]).is_err());
    assert!(table(0, [1, 3, 0, 2]).is_err());
}

#[test]
fn a_resampler_gives_its_latents_and_a_projection_every_feature() {
    let features = Tensor::ones([2, 9, VISION_HIDDEN], &Device::flex());
    let ConnectorConfig::Perceiver(resampler) = perceiver() else { unreachable!("it is one") };
    let latents = resampler.num_latents;
    let resampled = CrossAttentionConfig { resampler: Some(resampler), ..config() };
    for (config, keys) in [(config(), 9), (resampled, latents)] {
        let connector = CrossAttentionConnector::new(&config, VISION_HIDDEN, &Device::flex());
        assert_eq!(connector.layers.len(), 2);
        let memory = connector.memory(features.clone());
        assert_eq!(memory.dims(), [2, keys, HIDDEN]);
    }
}

#[test]
fn names_are_those_of_mllama() {
    let connector = CrossAttentionConnector::new(&config(), VISION_HIDDEN, &Device::flex());
    let names = infos(&connector, Part::Connector).into_iter().map(|info| info.name).collect::<Vec<_>>();
    assert_eq!(names[0], "multi_modal_projector.projection.weight");
    for name in ["layers.1.cross_attn.k_norm.weight", "layers.1.cross_attn_mlp_gate", "layers.0.mlp.up_proj.weight"] {
        assert!(names.contains(&format!("multi_modal_projector.{name}")), "{name} is not in {names:?}");
    }
}
