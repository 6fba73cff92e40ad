//! Adapters beside packed weights, through the binary.

use serde_json::Value;

use crate::resume::ends_bit_identical;
use crate::support::Place;

const RUN: &str = "pretrain --config tiny.toml -q --set train.encoder.tuning=frozen --set train.steps=6";

fn decoder(scheme: &str) -> String {
    format!("--set train.decoder.tuning={{lora={{lr=1e-2,rank=4,alpha=8,quantization='{scheme}'}}}}")
}

#[test]
fn runs_beside_packed_weights_resumed_anywhere_end_bit_identical() {
    let encoder = "--set train.encoder.tuning={lora={lr=1e-2,rank=2,dropout=0.2,quantization='nf4'}}";
    let dora = "--set train.decoder.tuning={lora={lr=1e-2,use_dora=true,quantization='int8'}}";
    for settings in [decoder("nf4"), format!("{encoder} {dora}")] {
        ends_bit_identical(&format!("{RUN} {settings}"), 6, &[1, 4]);
    }
}

#[test]
fn the_loss_is_near_that_beside_dense_weights_and_recomputing_changes_nothing() {
    let place = Place::new();
    let run = |name: &str, settings: &str| {
        place.ok(&format!("{RUN} --run-dir {name} {settings}"));
        place.losses(name)
    };
    let dense = run("dense", "--set train.decoder.tuning={lora={lr=1e-2,rank=4,alpha=8}}");
    for scheme in ["int8", "nf4"] {
        let packed = run(scheme, &decoder(scheme));
        let all = run(&format!("{scheme}-all"), &format!("{} --set train.recompute=all", decoder(scheme)));
        assert_eq!(packed, all, "{scheme}");
        assert_ne!(packed, dense, "{scheme}");
        for ((_, packed), (_, dense)) in packed.iter().zip(&dense) {
            assert!((packed / dense - 1.0).abs() < 0.05, "{scheme}: {packed} {dense}");
        }
    }
}

#[test]
fn the_export_has_the_files_own_weights_with_the_adapters_in_them() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir dense --set train.decoder.tuning={{lora={{lr=3e-2}}}}"));
    place.ok("export --model dense --base --out dense-base");
    place.ok(&format!("{RUN} --run-dir run {}", decoder("nf4")));
    place.ok("export --model run --base --out base");
    place.ok("export --model run --out merged");
    place.ok("export --model run --adapter --out peft");
    let weight = "language_model.model.layers.0.self_attn.q_proj.weight";
    let tensor = |dir: &str| {
        let bytes = place.read(&format!("{dir}/model.safetensors"));
        safetensors::SafeTensors::deserialize(&bytes)
            .expect("safetensors")
            .tensor(weight)
            .expect(weight)
            .data()
            .to_vec()
    };
    assert!(tensor("base") == tensor("dense-base"), "the base is not what packing left of it");
    assert!(tensor("base") != tensor("merged"));
    for model in ["run", "merged"] {
        place.ok(&format!("generate --model {model} --image run/samples/0.jpg --max-new-tokens 2"));
    }
    let scored = |model: &str| place.ok(&format!("eval --model {model} --data data --limit 4 --json")).stdout;
    assert_eq!(scored("run"), scored("merged"));
    assert!(place.ok("inspect run").stdout.contains("lora r=4"));
}

#[test]
fn weights_of_a_directory_are_packed_as_they_are_read_and_have_to_stay_the_same() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --set train.steps=2 --run-dir first");
    place.ok("export --model first --out hf");
    place.ok(&format!(
        "{RUN} --run-dir run --init hf {} --set checkpoint.every=2 --set checkpoint.keep=0",
        decoder("int8")
    ));
    place.ok("eval --model run --data data --limit 2");
    // The next stage: merged, packed otherwise, gone on with, gone on with beside another packing.
    let continued = |scheme: &str| {
        format!("--set train.decoder.tuning={{lora={{lr=1e-2,rank=4,alpha=8,continued=true,quantization='{scheme}'}}}}")
    };
    for (name, settings) in
        [("a", decoder("int8")), ("b", decoder("nf4")), ("c", continued("int8")), ("d", continued("nf4"))]
    {
        let next =
            format!("pretrain --config tiny.toml -q --set train.encoder.tuning=frozen --set train.steps=2 {settings}");
        place.ok(&format!("{next} --init run --run-dir {name} --set checkpoint.every=1 --set checkpoint.keep=0"));
        place.ok(&format!("eval --model {name} --data data --limit 2"));
        copy_run(&place, name, &format!("{name}-cut"), 1);
        place.ok(&format!("pretrain --resume {name}-cut -q"));
        assert!(place.final_state(&format!("{name}-cut"), 2) == place.final_state(name, 2), "{name}");
    }
    let last = |run: &str| place.losses(run).last().expect("steps").1;
    assert!((place.losses("c")[0].1 / last("run") - 1.0).abs() < 0.5);
    // Other weights in the same place.
    place.ok("pretrain --config tiny.toml -q --set train.steps=3 --set train.seed=9 --run-dir other");
    place.ok("export --model other --out other-hf");
    place.write("hf/model.safetensors", &place.read("other-hf/model.safetensors"));
    place.fails("eval --model run --data data --limit 2", 3, &["are not those this run was made with"]);
}

/// The run up to a checkpoint.
fn copy_run(place: &Place, from: &str, to: &str, step: u64) {
    for file in ["config.toml", "run.json"] {
        place.write(&format!("{to}/{file}"), &place.read(&format!("{from}/{file}")));
    }
    let dir = format!("step-{step:08}");
    for file in place.entries(&format!("{from}/{dir}")) {
        place.write(&format!("{to}/{dir}/{file}"), &place.read(&format!("{from}/{dir}/{file}")));
    }
}

#[test]
fn the_dry_run_says_what_packed_weights_take_and_the_first_step_is_looked_at() {
    let place = Place::new();
    let wide = "--set model.decoder.arch.hidden_size=64 --set model.decoder.arch.intermediate_size=128";
    for (scheme, most) in [("int8", 0.55), ("nf4", 0.30)] {
        let run = format!("{RUN} --run-dir {scheme} {wide} {}", decoder(scheme)).replace(" -q", "");
        let report: Value = serde_json::from_str(&place.ok(&format!("{run} --dry-run --json")).stdout).expect("JSON");
        let packed = &report["packed"][0];
        assert_eq!((&packed["part"], &packed["quantization"]), (&"decoder".into(), &scheme.into()));
        assert!(packed["share_of_bf16"].as_f64().is_some_and(|share| share <= most), "{packed}");
        let text = place.ok(&format!("{run} --dry-run")).stdout;
        assert!(text.contains(&format!("beside {scheme}")) && text.contains("% of bf16"), "{text}");
        let log = place.ok(&format!("-v {run}")).stderr;
        assert!(
            log.contains("frozen tensors stayed") && log.contains("trained tensors of the decoder changed"),
            "{log}"
        );
    }
}

#[test]
fn packing_what_is_trained_or_in_an_unknown_way_is_refused() {
    let place = Place::new();
    let refused = |tuning: &str, words: &[&str]| {
        place.fails(&format!("{RUN} --run-dir run --set train.decoder.tuning={tuning}"), 2, words);
    };
    refused("{full={lr=1e-3,quantization='nf4'}}", &["quantization"]);
    refused("{lora={lr=1e-3,quantization='int3'}}", &["quantization", "int8", "nf4"]);
    refused("{lora={lr=1e-3,load_in_4bit=true}}", &["load_in_4bit", "quantization"]);
    assert!(!place.path("run").exists());
}
