//! Weights that stay bf16 or f16 in memory give what the same weights give as f32.

use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use mmtrain_model::weights::{LoadDtype, TensorFile};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::language::compute;
use super::recorded::Recorded;
use super::*;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity")
}

/// A copy of a case whose weights are rounded to two bytes.
fn rounded(name: &str, dtype: Dtype) -> tempfile::TempDir {
    let (from, dir) = (cases().join(name), tempfile::tempdir().expect("a directory"));
    for file in ["config.json", "io.safetensors"] {
        fs_err::copy(from.join(file), dir.path().join(file)).expect("copied");
    }
    let file = TensorFile::open(&from.join("model.safetensors")).expect("weights");
    let bits = |value: &f32| match dtype {
        Dtype::BF16 => bf16::from_f32(*value).to_bits(),
        _ => f16::from_f32(*value).to_bits(),
    };
    let tensor = |name: &str| {
        let stored = file.read(name).expect("read");
        let bytes = stored.values.iter().flat_map(|value| bits(value).to_le_bytes()).collect::<Vec<_>>();
        (name.to_owned(), stored.shape, bytes)
    };
    let tensors = file.names().map(tensor).collect::<Vec<_>>();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).expect("of this size"))
    });
    serialize_to_file(views, None, &dir.path().join("model.safetensors")).expect("written");
    dir
}

fn outputs(dir: &Path, dtype: LoadDtype) -> Vec<(String, Computed)> {
    let Ok(Subject::Model(model)) = Subject::load(dir, None, (dtype, DType::F32), &Device::flex()) else {
        return Vec::new();
    };
    let held = model.vlm.params(mmtrain_model::params::Part::Decoder);
    let halves = held.iter().filter(|param| param.value.dtype().size() == 2).count();
    assert_eq!(halves > 0, dtype == LoadDtype::AsStored, "{}", dir.display());
    let recorded = Recorded::open(&dir.join("io.safetensors"), &Device::flex()).expect("recorded");
    let names = recorded.outputs().into_iter();
    names.filter_map(|name| Some((name.clone(), compute(&model, &recorded, &name).expect("computed")?))).collect()
}

#[test]
fn every_kind_of_model_computes_the_same_bits_from_halves_and_from_f32() {
    let mut compared = 0;
    let mut dirs = fs_err::read_dir(cases()).expect("listed").map(|e| e.expect("an entry").path()).collect::<Vec<_>>();
    dirs.retain(|dir| dir.join("config.json").is_file() && dir.join("model.safetensors").is_file());
    dirs.sort();
    for dir in dirs {
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        for dtype in [Dtype::BF16, Dtype::F16] {
            let dir = rounded(&name, dtype);
            let (wide, stored) = (outputs(dir.path(), LoadDtype::F32), outputs(dir.path(), LoadDtype::AsStored));
            assert_eq!(wide.len(), stored.len(), "{name}");
            for ((output, wide), (_, stored)) in wide.iter().zip(&stored) {
                let same = match (wide, stored) {
                    (Computed::Values { values: a, .. }, Computed::Values { values: b, .. }) => {
                        a.iter().map(|value| value.to_bits()).eq(b.iter().map(|value| value.to_bits()))
                    }
                    (Computed::Ids(a), Computed::Ids(b)) => a == b,
                    _ => false,
                };
                assert!(same, "{name}, {dtype:?}: {output} differs");
                compared += 1;
            }
        }
    }
    // Language models, and LLaVA's kinds; towers alone have nothing to compare.
    assert!(compared >= 2 * 15 * 2, "{compared}");
}

#[test]
fn published_halves_pass_both_ways() {
    for name in ["llama_bf16", "llama_f16"] {
        let reports = [LoadDtype::F32, LoadDtype::AsStored].map(|dtype| {
            let report = run(&Asked { dtype, ..Asked::of(&cases().join(name)) }).expect("a report");
            assert!(report.passed(), "{dtype:?}: {report}");
            serde_json::to_value(&report).expect("JSON")
        });
        assert_eq!(reports[0], reports[1], "{name}");
    }
}
