use burn::tensor::TensorData;

use super::attach::{attach, has_adapters};
use super::*;
use crate::Vlm;
use crate::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, TextConfig, TextFamily, VisionConfig, VisionFamily,
    VitConfig, VlmConfig,
};
use crate::params::{ParamInfo, Part, Tuned, infos, named, trained_leaves};
use crate::projection::Projection;

fn config() -> LoraConfig {
    LoraConfig { rank: 2, alpha: 3.0, dropout: 0.0, targets: None, use_rslora: false, use_dora: false }
}

fn kinds() -> [LoraConfig; 3] {
    [config(), LoraConfig { use_rslora: true, ..config() }, LoraConfig { use_dora: true, ..config() }]
}

/// Numbers without visible order.
fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11 + 5) % 101) as f32 / 50.0 - 1.0).collect()
}

/// A tiny LLaVA whose adapters, where it has some, are not zero.
fn model() -> Vlm {
    let vision = VisionConfig {
        family: VisionFamily::Siglip,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 4,
        patch_size: 2,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::GeluTanh,
    };
    let text = TextConfig {
        vocab_size: 20,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 4,
        ..TextConfig::class_defaults(TextFamily::Llama)
    };
    let config = VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(vision, -1)),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 2, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text,
        image_token_id: 19,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    };
    Vlm::random(&config, 5, &Device::flex())
}

fn scrambled(model: Vlm, part: Part) -> Vlm {
    model.assign(part, &mut |info| {
        let own = values(info.elements(), info.name.len());
        let own = if info.is_magnitude() { own.into_iter().map(|value| 1.5 + value / 4.0).collect() } else { own };
        info.is_adapter().then(|| Tensor::from_data(own.as_slice(), &Device::flex()))
    })
}

fn logits(model: &Vlm) -> Vec<f32> {
    let ids = Tensor::<1, Int>::from_data([1_i32, 5, 7, 3], &Device::flex());
    let embeds = model.decoder.embed(ids).unsqueeze::<3>();
    let context = crate::decoder::DecoderContext::for_training(&model.config.text, 4, &Device::flex());
    let states = model.decoder.blocks(embeds, &context).squeeze_dim::<2>(0);
    model.decoder.logits(states).into_data().try_to_vec().expect("f32")
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn adapters_have_pefts_names_and_leave_those_of_the_weights() {
    let (plain, part) = (model(), Part::Connector);
    let dora = LoraConfig { use_dora: true, ..config() };
    let adapted = plain.clone().with_adapters(part, &dora).expect("attached");
    assert_eq!(adapted.base_infos(part), plain.infos(part));
    let names = adapted.adapter_infos(part).into_iter().map(|info| (info.name.clone(), info.file_shape()));
    let layer = |name: &str, shape: &[usize]| (format!("multi_modal_projector.linear_1.{name}"), shape.to_vec());
    let expected =
        [layer("lora_A.weight", &[2, 8]), layer("lora_B.weight", &[8, 2]), layer("lora_magnitude_vector", &[8])];
    assert_eq!(names.take(3).collect::<Vec<_>>(), expected);
    assert!(has_adapters(&adapted.connector) && !has_adapters(&adapted.decoder));
}

#[test]
fn all_layers_of_blocks_get_one_and_stems_embeddings_and_heads_none() {
    let adapted = Part::ALL.into_iter().fold(model(), |model, part| model.with_adapters(part, &config()).expect("it"));
    let layers = |part| {
        let infos = adapted.adapter_infos(part);
        let mut layers = infos.iter().filter_map(|info| info.adapted_layer()?.rsplit('.').next()).collect::<Vec<_>>();
        layers.sort_unstable();
        layers.dedup();
        layers.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(layers(Part::Encoder), ["fc1", "fc2", "k_proj", "out_proj", "q_proj", "v_proj"]);
    assert_eq!(layers(Part::Connector), ["linear_1", "linear_2"]);
    let decoder = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"];
    assert_eq!(layers(Part::Decoder), decoder);
}

#[test]
fn targets_are_ends_of_paths_and_one_that_is_none_is_answered_with_those_there_are() {
    let with = |targets: &[&str]| {
        let targets = Some(targets.iter().map(|target| (*target).to_owned()).collect());
        model().with_adapters(Part::Decoder, &LoraConfig { targets, ..config() })
    };
    let layers = with(&["1.mlp.up_proj", "v_proj"]).expect("they are there").adapter_infos(Part::Decoder);
    let layers = layers.iter().filter(|info| info.name.ends_with("A.weight")).map(|info| info.adapted_layer());
    let layers = layers.flatten().map(|layer| layer.trim_start_matches("language_model.model.layers."));
    assert_eq!(layers.collect::<Vec<_>>(), ["0.self_attn.v_proj", "1.self_attn.v_proj", "1.mlp.up_proj"]);
    for wrong in ["roj", "query", ""] {
        let error = with(&["q_proj", wrong]).expect_err("no such layer");
        assert!(error.to_string().contains(&format!("`{wrong}`")), "{error}");
        assert!(error.hint().expect("a hint").contains("`down_proj`, `gate_proj`"), "{error}");
    }
}

#[test]
fn a_fresh_adapter_adds_nothing_and_depends_on_seed_and_name_alone() {
    let plain = logits(&model());
    for kind in kinds() {
        let begun =
            |seed| model().with_adapters(Part::Decoder, &kind).expect("it").with_fresh_adapters(Part::Decoder, seed);
        let moved = distance(&logits(&begun(1)), &plain);
        // DoRA divides by the norm that it multiplies with; a few rows are added up in another order where there is no adapter.
        assert!(moved <= 2e-6, "{kind}: {moved}");
        let first = |seed| {
            let params = begun(seed).params(Part::Decoder);
            let a = params.into_iter().find(|param| param.info.name.ends_with("lora_A.weight")).expect("there");
            a.value.into_data().try_to_vec::<f32>().expect("f32")
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        // Of eight inputs: uniform up to 1 / sqrt(8).
        let largest = first(1).into_iter().map(f32::abs).fold(0.0, f32::max);
        assert!((0.2..=0.353_554).contains(&largest), "{largest}");
    }
}

#[test]
fn merged_weights_give_the_same_logits() {
    let plain = logits(&model());
    for kind in kinds() {
        let adapted = scrambled(model().with_adapters(Part::Decoder, &kind).expect("attached"), Part::Decoder);
        let merged = adapted.clone().merged();
        assert!(!merged.has_adapters());
        let (beside, within) = (logits(&adapted), logits(&merged));
        assert!(distance(&beside, &plain) > 0.1, "{kind}");
        assert!(distance(&beside, &within) < 1e-5, "{kind}: {}", distance(&beside, &within));
    }
}

#[derive(Module, Debug)]
struct Block {
    q_proj: Projection,
}

#[test]
fn only_adapters_are_leaves_and_no_gradient_is_made_for_the_weight() {
    let device = Device::flex();
    let layer = Projection::new(3, 4, true, &device);
    let layer = crate::params::assign(layer, Part::Decoder, &mut |info| {
        Some(Tensor::from_data(values(info.elements(), 3).as_slice(), &device))
    });
    let block = attach(Block { q_proj: layer }, Part::Decoder, &config()).expect("attached");
    let block = crate::params::assign(block, Part::Decoder, &mut |info| {
        info.is_adapter().then(|| Tensor::from_data(values(info.elements(), 4).as_slice(), &device))
    });
    let leaf = trained_leaves(&block, Tuned::Adapters);
    let x = Tensor::<2>::from_data(TensorData::new(values(6, 1), [2, 3]), &device).autodiff();
    let mut tape = leaf.q_proj.forward(x).sum().backward();
    assert!(!leaf.q_proj.weight.base().is_require_grad());
    let mut gradients = crate::params::FlatTensors::new();
    crate::params::take_gradients(&leaf, Part::Decoder, "", &mut tape, &mut gradients);
    let names = infos(&block, Part::Decoder).into_iter().filter(ParamInfo::is_adapter).map(|info| info.name);
    assert_eq!(gradients.keys().cloned().collect::<Vec<_>>(), names.collect::<Vec<_>>());
    // d(sum)/dB = s (x A)^T 1, by hand: each column the same.
    let params = named(&block, Part::Decoder);
    let a = params.iter().find(|param| param.info.name.ends_with("lora_A.weight")).expect("there").value.clone();
    let x = Tensor::<2>::from_data(TensorData::new(values(6, 1), [2, 3]), &device);
    let expected = (x.matmul(a.reshape([3, 2])).sum_dim(0) * 1.5).into_data().try_to_vec::<f32>().expect("f32");
    let found = gradients["language_model.q_proj.lora_B.weight"].to_data().try_to_vec::<f32>().expect("f32");
    for (row, expected) in found.chunks(4).zip(expected) {
        assert!(row.iter().all(|value| (value - expected).abs() < 1e-5), "{row:?} {expected}");
    }
}

#[test]
fn kinds_are_told_apart_and_called_by_name() {
    assert_eq!(config().to_string(), "lora r=2, alpha=3");
    let rslora = LoraConfig { rank: 4, use_rslora: true, ..config() };
    assert!((rslora.scale() - 1.5).abs() < 1e-12 && (config().scale() - 1.5).abs() < 1e-12);
    assert!(!rslora.is_kind_of(&config()));
    assert!(LoraConfig { dropout: 0.1, ..config() }.is_kind_of(&config()));
}
