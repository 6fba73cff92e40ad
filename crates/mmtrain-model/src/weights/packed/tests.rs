//! Against layers that were packed by others' formulas, and what is refused.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use fs_err as fs;

use super::*;
use crate::few_rows::Rows;
use crate::params::Part;

const INPUT: usize = 64;
const OUTPUT: usize = 16;

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/quantized/packed.safetensors")
}

/// A directory with the fixture's tensors as they are called there, and a configuration.
fn checkpoint(config: &str) -> (tempfile::TempDir, Result<Checkpoint, ModelError>) {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::copy(fixture(), dir.path().join("model.safetensors")).expect("copied");
    fs::write(dir.path().join("config.json"), config).expect("written");
    let opened = Checkpoint::open(dir.path());
    (dir, opened)
}

fn info(shape: [usize; 2]) -> ParamInfo {
    let name = "language_model.model.x.weight".to_owned();
    ParamInfo { name, part: Part::Decoder, shape: shape.to_vec(), layout: Layout::Transposed }
}

fn held(checkpoint: &Checkpoint, stem: &str) -> Held {
    Held::find(checkpoint, &info([INPUT, OUTPUT]), &[format!("{stem}.weight")]).expect("packed")
}

#[test]
fn layers_that_others_packed_have_the_values_that_they_stand_for() {
    let (_dir, opened) = checkpoint("{}");
    let checkpoint = opened.expect("opens");
    for (stem, kind) in [("gptq4", Kind::Gptq), ("gptq8", Kind::Gptq), ("ordered", Kind::Gptq), ("awq", Kind::Awq)] {
        let held = held(&checkpoint, stem);
        assert_eq!((held.kind, held.fault(&checkpoint)), (kind, None));
        let (weight, finite) = held.read(&checkpoint).expect("reads");
        let expected = checkpoint.files[0].read(&format!("{stem}.dense")).expect("there").values;
        assert!(finite && weight.rows() == expected, "{stem}");
        let x = (0..3 * INPUT).map(|index| (index * 37 % 101) as f32 / 101.0 - 0.5).collect::<Vec<_>>();
        for rows in [1, 3] {
            let x = Rows { values: x[..rows * INPUT].to_vec(), count: rows, input: INPUT };
            let tensor = Tensor::<2>::from_data(TensorData::new(x.values.clone(), [rows, INPUT]), &Device::flex());
            let dense: Vec<f32> = tensor.matmul(weight.dense(&Device::flex())).into_data().try_to_vec().expect("f32");
            let found = weight.product(x);
            let size = dense.iter().map(|value| value.abs()).fold(0.0, f32::max);
            let far = found.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far <= 1e-5 * size, "{stem}: {far} of {size}");
        }
    }
}

#[test]
fn zeros_of_the_second_format_are_taken_as_they_are() {
    let (_first, first) = checkpoint("{}");
    let (_second, second) =
        checkpoint(r#"{"quantization_config": {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}}"#);
    let [first, second] = [first, second].map(|opened| {
        let checkpoint = opened.expect("opens");
        let (weight, _) = held(&checkpoint, "gptq4").read(&checkpoint).expect("reads");
        let Codes::Affine(codes) = weight.codes() else { panic!("affine") };
        codes.zeros().to_vec()
    });
    assert!(first.iter().zip(&second).all(|(first, second)| *first == (second + 1) & 15));
}

#[test]
fn what_cannot_be_read_is_refused_by_its_name() {
    for (said, words) in [
        (r#"{"quant_method": "fp8"}"#, "`fp8`"),
        (r#"{"quant_method": "hqq", "bits": 4}"#, "`hqq`"),
        (r#"{"quant_method": "aqlm"}"#, "`aqlm`"),
        (r#"{"quant_method": "awq", "version": "gemv"}"#, "`awq` as `gemv`"),
        (r#"{"quant_method": "gptq", "checkpoint_format": "marlin"}"#, "`gptq` as `marlin`"),
        (r#"{"load_in_4bit": true, "bnb_4bit_quant_type": "fp4"}"#, "`bitsandbytes` as `fp4`"),
    ] {
        for config in [
            format!(r#"{{"quantization_config": {said}}}"#),
            format!(r#"{{"text_config": {{"quantization_config": {said}}}}}"#),
        ] {
            let error = checkpoint(&config).1.expect_err(words);
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("GPTQ in 4 or 8 bits")));
        }
    }
}

#[test]
fn missing_tensors_and_other_shapes_are_named() {
    let (dir, opened) = checkpoint("{}");
    let checkpoint = opened.expect("opens");
    let other = Held { shape: [INPUT, 2 * OUTPUT], ..held(&checkpoint, "gptq4") };
    let fault = other.fault(&checkpoint).expect("another shape");
    assert!(fault.contains("gptq4.qweight: file [8, 16]") && fault.contains("[32, 64]"), "{fault}");
    // Without its zeros.
    let tensors = ["gptq4.qweight", "gptq4.scales"].map(|name| {
        let file = &checkpoint.files[0];
        (name.to_owned(), file.shape(name).expect("there"), file.dtype(name).expect("there"))
    });
    let mut bytes = Vec::new();
    super::super::file::write_header(&mut bytes, &tensors, None).expect("written");
    for (name, ..) in &tensors {
        bytes.extend(checkpoint.files[0].read_bytes(name).expect("read"));
    }
    fs::write(dir.path().join("model.safetensors"), bytes).expect("written");
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let fault = held(&checkpoint, "gptq4").fault(&checkpoint).expect("no zeros");
    assert!(fault.contains("gptq4.qzeros: missing beside gptq4.qweight"), "{fault}");
}
