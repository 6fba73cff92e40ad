//! `mmtrain quantize`, through the binary.

use serde_json::Value;

use crate::support::Place;

fn trained() -> Place {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --run-dir run --set train.steps=8");
    place
}

fn quantize(place: &Place, args: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("quantize --model run {args} --json")).stdout).expect("JSON")
}

#[test]
fn a_quantized_model_is_near_its_own_and_is_used_as_any() {
    let place = trained();
    for (out, args, cosine) in [
        ("affine8", "--bits 8 --scheme affine", 0.999),
        ("absmax8", "--bits 8 --scheme absmax --group 16", 0.999),
        ("affine4", "--bits 4 --scheme affine --group 16", 0.97),
        ("nf4", "--bits 4 --scheme nf4", 0.97),
        ("head", "--bits 8 --head --parts encoder,connector,decoder", 0.999),
    ] {
        let report = quantize(&place, &format!("--out {out} {args} --data data"));
        let comparison = &report["comparison"];
        let number = |value: &Value| value.as_f64().expect("a number");
        assert!(number(&comparison["logits_cosine"]) >= cosine, "{out}: {comparison}");
        let change = number(&comparison["loss_after"]) - number(&comparison["loss_before"]);
        assert!(change.abs() < 0.2, "{out}: {comparison}");
        assert!(number(&comparison["tokens_per_sec_after"]) > 0.0);
        let decoder = &report["parts"]["decoder"];
        assert_eq!((&decoder["layers"], &decoder["left"]), (&7.into(), &0.into()), "{out}");
        let (error, size) = (number(&decoder["rms_error"]), number(&decoder["rms"]));
        assert!(error > 0.0 && error < 0.2 * size, "{out}: {error} of {size}");
        place.ok(&format!("generate --model {out} --prompt hello --max-new-tokens 4"));
        place.ok(&format!("eval --model {out} --data data --limit 2 --max-new-tokens 4"));
        place.ok(&format!("inspect {out} --values"));
    }
    assert_eq!(
        place.ok("generate --model affine8 --prompt hello --max-new-tokens 4").stdout,
        place.ok("generate --model affine8 --weights f32 --prompt hello --max-new-tokens 4").stdout,
    );
}

#[test]
fn the_directory_says_how_it_is_packed_and_can_be_exported_again() {
    let place = trained();
    quantize(&place, "--out out --bits 4 --group 16");
    let config: Value = serde_json::from_slice(&place.read("out/config.json")).expect("JSON");
    let said = &config["quantization_config"];
    assert_eq!((&said["quant_method"], &said["bits"], &said["group_size"]), (&"gptq".into(), &4.into(), &16.into()));
    let bytes = place.read("out/model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let shape = |end: &str| {
        let name = format!("language_model.model.layers.0.mlp.up_proj.{end}");
        tensors.tensor(&name).expect("there").shape().to_vec()
    };
    assert_eq!([shape("qweight"), shape("qzeros"), shape("scales")], [vec![2, 32], vec![1, 4], vec![1, 32]]);
    assert!(tensors.tensor("language_model.model.layers.0.mlp.up_proj.weight").is_err());
    assert_eq!(tensors.tensor("language_model.model.embed_tokens.weight").expect("left").shape()[1], 16);
    // Loaders of transformers are told which layers are packed, by the paths of its modules.
    assert_eq!(said["block_name_to_quantize"], "model.language_model.layers.0");
    assert!(said.get("modules_in_block_to_quantize").is_none(), "{said}");
    let told = |args: &str| {
        quantize(&place, &format!("--out other {args}"));
        let config: Value = serde_json::from_slice(&place.read("other/config.json")).expect("JSON");
        fs_err::remove_dir_all(place.path("other")).expect("removed");
        config["quantization_config"].clone()
    };
    let said = told("--bits 8 --head");
    let listed = said["modules_in_block_to_quantize"][0].as_array().expect("a list");
    assert_eq!((&said["block_name_to_quantize"], listed.len()), (&"".into(), 8));
    assert!(listed.contains(&"lm_head".into()), "{said}");
    let said = told("--bits 4 --scheme nf4");
    let skipped =
        ["lm_head", "model.multi_modal_projector", "model.vision_tower", "multi_modal_projector", "vision_tower"];
    for name in skipped {
        assert!(said["llm_int8_skip_modules"].as_array().expect("a list").contains(&name.into()), "{name}: {said}");
    }
    let said = told("--bits 4 --scheme nf4 --parts connector");
    assert!(!said["llm_int8_skip_modules"].to_string().contains("multi_modal_projector"), "{said}");
    place.ok("export --model out --out dense");
    assert!(place.read("dense/model.safetensors").len() > bytes.len());
    // A run begins with it as with any other.
    place.ok("sft --config tiny.toml -q --init out --run-dir more --set train.steps=1");
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = trained();
    place.fails("quantize --model run --out x --bits 8 --scheme nf4", 2, &["nf4 has 4 bits, not 8", "--bits 4"]);
    place.fails("quantize --model run --out x --bits 5", 2, &["--bits 5", "8 or 4 bits"]);
    place.fails("quantize --model run --out x --bits 8 --data nosuch", 3, &["nosuch", "hint:"]);
    assert!(!place.path("x").exists(), "nothing is written before the data are there");
    place.fails(
        "quantize --model run --out x --bits 4 --group 12",
        2,
        &["groups of 12 do not divide the 16 inputs", "`--group 8` fits all layers"],
    );
    place.fails("quantize --model run --out x --bits 4 --group 99999999999", 2, &["do not divide", "fits all layers"]);
    place.fails("quantize --model run --out data --bits 4", 2, &["`data` is there already"]);
    assert!(!place.path("x").exists());
    quantize(&place, "--out out --bits 4 --group 16");
    // 300 tokens do not fill words of eight codes: the table stays one with the head.
    let done = place.ok("quantize --model run --out left --bits 4 --group 16 --head");
    assert!(done.stderr.contains("the output projection is left as it is"), "{}", done.stderr);
    assert_eq!(place.read("left/model.safetensors").len(), place.read("out/model.safetensors").len());
    let done = place.ok("quantize --model out --out again --bits 4 --group 16");
    assert!(done.stderr.contains("`out` is packed already"), "{}", done.stderr);
    place.edit("out/config.json", "\"gptq\",\n    \"checkpoint_format\"", "\"hqq\",\n    \"checkpoint_format\"");
    place.fails("generate --model out --prompt a", 2, &["`hqq`, which is not supported", "GPTQ in 4 or 8 bits"]);
}

#[test]
fn what_transformers_cannot_hold_is_quantized_for_mmtrain_alone() {
    let place = Place::new();
    let shuffled = "--set model.connector={kind=\"mlp\",depth=2,pixel_shuffle=2} --set data.template=vicuna_v1 --set data.max_seq=256";
    place.ok(&format!("pretrain --config tiny.toml --run-dir run -q --set train.steps=2 {shuffled}"));
    place.fails("export --model run --out hf", 2, &["transformers cannot hold this model"]);
    place.ok("quantize --model run --out out --bits 8 -q");
    let ask = "--image run/samples/0.jpg --prompt hello --max-new-tokens 4 --json";
    place.ok(&format!("generate --model out {ask}"));
    assert!(
        String::from_utf8(place.read("out/config.toml")).expect("UTF-8").contains("vicuna_v1"),
        "the template of its run"
    );
}
