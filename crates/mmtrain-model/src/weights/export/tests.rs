//! What a class needs and a model lacks, and the language model alone.

use super::*;
use crate::config::read_text;
use crate::media::BatchView;
use crate::params::Layout;
use crate::weights::Checkpoint;

#[test]
fn new_rows_are_the_mean_of_the_old() {
    let info =
        ParamInfo { name: "embed_tokens.weight".into(), part: Part::Decoder, shape: vec![2, 2], layout: Layout::Same };
    let table = TensorData::new(vec![1.0_f32, 2.0, 3.0, 6.0], [4]);
    let grown = grown(&table, &info, 3).try_to_vec::<f32>().expect("f32");
    assert_eq!(grown, [1.0, 2.0, 3.0, 6.0, 2.0, 4.0]);
}

fn fixture(case: &str) -> Vlm {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(case);
    Vlm::from_pretrained(&dir, &Device::flex()).expect("a fixture")
}

/// Of a row of text. `[seq * vocab]`
fn logits(model: &Vlm) -> Vec<f32> {
    let input_ids = (5..25).collect::<Vec<i32>>();
    let seq = input_ids.len();
    let whole = 0..seq;
    let samples = vec![vec![whole]];
    let batch = BatchView { input_ids: &input_ids, seq, samples, forks: Vec::new(), media: Vec::new() };
    let input = model.prepare(&batch, None).expect("text alone");
    model.logits(input).into_data().try_to_vec().expect("f32")
}

/// The directory of a language model beside a tower that never runs.
fn read_back(dir: &Path) -> Vlm {
    let text = read_text(dir).expect("a causal language model");
    let config = VlmConfig { image_token_id: text.vocab_size, text, ..fixture("llava").config };
    let checkpoint = Checkpoint::open(dir).expect("opens");
    Vlm::zeros(&config, &Device::flex()).loaded(Part::Decoder, &checkpoint).expect("loads")
}

#[test]
fn the_language_model_alone_says_on_text_what_the_whole_model_does() {
    for (case, class) in [
        ("llava", "LlamaForCausalLM"),
        ("llava_siglip_qwen2", "Qwen2ForCausalLM"),
        ("qwen2_vl", "Qwen2ForCausalLM"),
        ("qwen2_5_vl", "Qwen2ForCausalLM"),
        ("blip2", "LlamaForCausalLM"),
        ("mllama", "LlamaForCausalLM"),
        ("idefics3", "LlamaForCausalLM"),
        ("qwen2_audio", "Qwen2ForCausalLM"),
    ] {
        let model = fixture(case);
        let dir = tempfile::tempdir().expect("temp dir");
        let export = Export::decoder(&model);
        assert_eq!((export.architecture(), export.class(), export.has_media()), (Some(class), None, false), "{case}");
        let config = export.config(StoredType::F32).expect("every decoder has a class");
        assert_eq!(config["architectures"][0], class);
        assert!(!config.to_string().contains("mrope"), "{case}: {config}");
        fs::write(dir.path().join("config.json"), config.to_string()).expect("written");
        export.write(dir.path(), StoredType::F32).expect("written");
        let checkpoint = Checkpoint::open(dir.path()).expect("opens");
        let is_own = |name: &str| name.starts_with("model.") || name == "lm_head.weight";
        assert!(checkpoint.files.iter().flat_map(super::super::TensorFile::names).all(is_own), "{case}");

        let (whole, alone) = (logits(&model), logits(&read_back(dir.path())));
        // A head that came with fewer rows than the table has more of them now.
        let rows = [whole.len() / 20, alone.len() / 20];
        assert!(rows[1] >= rows[0], "{case}: {rows:?}");
        let far = whole.chunks_exact(rows[0]).zip(alone.chunks_exact(rows[1]));
        let far = far.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-6, "{case}: {far}");
    }
}
