//! Three stages, each from the one before, through the binary.

use serde_json::Value;

use crate::support::Place;

const CONSTANT: &str = "--set schedule.kind=constant --set schedule.warmup_steps=2 -q";

/// What the later stages of the tiny run are trained on; the model is that of the run before.
pub(crate) fn later(like: &str, template: &str, objective: &str) -> String {
    let source = format!("name = '{like}'\npath = '{like}'\n");
    format!(
        "[data]\nmax_seq = 1024\n{template}\n\n[[data.sources]]\n{source}\
         synth = {{ like = '{like}', samples = 24, seed = 5, size = 32 }}\n\n[data.eval]\n{source}split = 'validation'\n\n\
         {objective}\n\n[train]\nsteps = 6\nglobal_batch_size = 4\nmicro_batch_size = 2\nranks = 2\nlog_every = 1\neval_every = 3\n\n\
         [train.encoder]\ntuning = 'frozen'\n\n[train.connector]\ntuning = {{ full = {{ lr = 1e-3 }} }}\n\n\
         [train.decoder]\ntuning = {{ full = {{ lr = 1e-3 }} }}\n\n[checkpoint]\nevery = 3\n\n\
         [eval]\nsamples = 8\ngenerate = 2\nmax_new_tokens = 8\n"
    )
}

pub(crate) const PREFERENCE: &str = "[objective]\nkind = 'preference'";

/// A place with a finished pretrain run, and configurations of the later stages.
fn place() -> Place {
    let place = Place::new();
    place.write("talks.toml", later("llava-instruct", "template = 'vicuna_v1'", "").as_bytes());
    place.write("pairs.toml", later("rlaif-v", "", PREFERENCE).as_bytes());
    place.ok("pretrain --config tiny.toml -q");
    place
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn each_stage_starts_from_the_newest_finished_run_of_the_one_before() {
    let place = place();
    place.fails("dpo --config pairs.toml", 2, &["no finished sft run", "--init"]);
    place.ok("sft --config talks.toml -q");
    // A job that may be interrupted is begun and gone on with by one command line.
    place.ok("dpo --config pairs.toml -q --run-dir checkpoints/dpo-pairs --resume checkpoints/dpo-pairs");
    let run = json(&place.read("checkpoints/dpo-pairs/run.json"));
    let stages =
        run["lineage"].as_array().expect("a list").iter().map(|run| (run["stage"].clone(), run["step"].clone()));
    assert!(stages.eq([("pretrain".into(), 12.into()), ("sft".into(), 6.into())]), "{run}");
    assert!(run["lineage"][1]["hash"].as_str().is_some_and(|hash| hash.len() == 64), "{run}");
    let train = place.metrics("checkpoints/dpo-pairs");
    let first = train.iter().find(|line| line["step"] == 1).expect("a line");
    assert!(
        (first["loss"].as_f64().expect("loss") - std::f64::consts::LN_2).abs() < 1e-6,
        "the policy is the reference: {first}"
    );
    for name in [
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    ] {
        assert!(first[name].is_number(), "{name} in {first}");
    }
    let eval = train.iter().rfind(|line| line["kind"] == "eval").expect("an evaluation");
    assert!(eval["values"]["preference_accuracy"].is_number(), "{eval}");
    assert!(eval["values"]["rewards/image_gap"].as_f64().is_some_and(|gap| gap != 0.0), "{eval}");
    let report = String::from_utf8(place.read("checkpoints/dpo-pairs/report.html")).expect("text");
    assert!(report.contains("held out image gap"), "the report draws it");
    let hashes = run["lineage"].as_array().expect("a list").iter().map(|run| run["hash"].as_str().expect("a hash"));
    assert!(hashes.into_iter().all(|hash| report.contains(hash)), "the report says where the run comes from");
    let in_the_loop = eval["values"]["preference_accuracy"].clone();
    place.ok("generate --model checkpoints/dpo-pairs --image checkpoints/dpo-pairs/samples/0.jpg --prompt hello --max-new-tokens 4");
    let eval = |model: &str, data: &str| {
        json(
            place
                .ok(&format!("eval --model {model} --data {data} --limit 8 --json --max-new-tokens 8"))
                .stdout
                .as_bytes(),
        )
    };
    let pairs = eval("checkpoints/dpo-pairs", "./rlaif-v");
    assert!(pairs["preference_accuracy"].is_number() && pairs["answer_accuracy"].is_number(), "{pairs}");
    assert!(pairs["image_gap"].is_number(), "{pairs}");
    assert_eq!(pairs["preference_accuracy"], in_the_loop, "one name, one number");
    let talks = eval("checkpoints/sft-talks", "./llava-instruct");
    assert!(
        talks["questions"].as_u64() > talks["samples"].as_u64() && talks["preference_accuracy"].is_null(),
        "{talks}"
    );
    let captions = eval("checkpoints/pretrain-tiny", "./data");
    for score in ["bleu4", "rouge_l", "cider_d", "exact_match", "attribute_accuracy"] {
        assert!(captions[score].is_number(), "{score} in {captions}");
    }
}

#[test]
fn a_model_of_the_hub_is_trained_with_the_words_that_it_was_made_with() {
    let place = place();
    place.ok("sft --config talks.toml -q");
    place.ok("export --model checkpoints/sft-talks --out hub");
    let begun = |options: &str| {
        place.ok(&format!("dpo {options} --init hub -q --run-dir run --set train.steps=1"));
        let config = String::from_utf8(place.read("run/config.toml")).expect("text");
        fs_err::remove_dir_all(place.path("run")).expect("a run");
        config
    };
    // Without a template of its own a configuration takes the model's; with one it has its way.
    assert!(begun("--config pairs.toml").contains("template = \"vicuna_v1\""));
    assert!(begun("--config pairs.toml --set data.template=llama2").contains("template = \"llama2\""));
}

/// TRL's `bco_pair` has the pairs of a micro-batch in the mean that it compares their rewards with (`dpo_trainer.py`,
/// `self.running.update` before the losses).
#[test]
fn rewards_are_compared_with_a_mean_that_they_are_part_of() {
    let place = place();
    let one = "--set train.global_batch_size=1 --set train.micro_batch_size=1 --set train.ranks=1 --set train.steps=4";
    place.ok(&format!(
        "dpo --config pairs.toml --init checkpoints/pretrain-tiny {CONSTANT} {one} --set objective.loss=bco_pair --run-dir bco"
    ));
    let (mut sum, mut steps) = (0.0, 0.0);
    let softplus = |x: f64| x.exp().ln_1p();
    for line in place.metrics("bco").iter().filter(|line| line["kind"] == "train") {
        let number = |name: &str| line[name].as_f64().expect("a number");
        let (chosen, rejected) = (number("rewards/chosen"), number("rewards/rejected"));
        (sum, steps) = (sum + f64::midpoint(chosen, rejected), steps + 1.0);
        let expected = softplus(sum / steps - chosen) + softplus(rejected - sum / steps);
        assert!((number("loss") - expected).abs() < 1e-9, "{line} is {expected}");
        assert!(steps < 2.0 || chosen != 0.0, "the policy has moved: {line}");
    }
    assert!(steps > 3.0, "{steps}");
}

/// mDPO as three losses.
const MDPO: &str = "--set objective.terms=[{loss='image_conditional'},{loss='anchor'}]";
/// KTO of both answers of each pair.
const KTO: &str = "--set objective.loss=kto --set data.sources.0.split_pairs=true --set data.eval.split_pairs=true";

#[test]
fn a_preference_run_goes_on_to_the_same_bits_and_never_asks_the_reference_twice() {
    let place = place();
    for (name, losses) in [
        ("plain", ""),
        ("mixed", "--set objective.loss=bco_pair --set objective.sft_weight=0.5"),
        ("adapters", "--set train.decoder.tuning={lora={lr=1e-3,dropout=0.2}}"),
        ("dense", "--set objective.dense={}"),
        ("mdpo", MDPO),
        ("kto", KTO),
        ("packed", "--set train.decoder.tuning={lora={lr=1e-3,quantization='nf4'}}"),
    ] {
        let start = format!("dpo --config pairs.toml --init checkpoints/pretrain-tiny {CONSTANT} {losses}");
        place.ok(&format!("{start} --run-dir {name}-whole"));
        place.ok(&format!("{start} --run-dir {name}-cut --set train.steps=3"));
        place.ok(&format!("dpo --resume {name}-cut -q --set train.steps=6"));
        for file in ["model.safetensors", "optim.safetensors"] {
            let read = |run: &str| place.read(&format!("{name}-{run}/step-00000006/{file}"));
            assert!(read("whole") == read("cut"), "{name}: {file}");
        }
        if name == "packed" {
            let first = place.losses("packed-whole")[0].1;
            assert!((first - std::f64::consts::LN_2).abs() < 1e-6, "the reference is packed as the policy is: {first}");
        }
        let known = place.read(&format!("{name}-cut/reference.bin")).len();
        place.ok(&format!("dpo --resume {name}-cut -q --set train.steps=7"));
        let now = place.read(&format!("{name}-cut/reference.bin")).len();
        // Of each of the four pairs of one step more up to two records, and one that says how many steps are covered.
        assert!(now <= known + 4 * 2 * 56 + 56, "{now} after {known}: at most the pairs of one step more");
    }
}

#[test]
fn losses_begin_where_policy_and_reference_are_the_same() {
    let place = place();
    let ln_2 = std::f64::consts::LN_2;
    for (name, losses, expected, metrics) in [
        ("dense", "--set objective.dense={gamma=3.0,average=false}", ln_2, ["rewards/margins", "logps/chosen"]),
        ("mdpo", MDPO, 3.0 * ln_2, ["rewards/imageless_chosen", "rewards/imageless_margins"]),
        ("kto", KTO, 0.5, ["kl", "logps/chosen"]),
        (
            "weighed",
            &format!("{KTO} --set objective.desirable_weight=2 --set objective.undesirable_weight=2"),
            1.0,
            ["kl"; 2],
        ),
    ] {
        let start = format!("dpo --config pairs.toml --init checkpoints/pretrain-tiny {CONSTANT} {losses}");
        place.ok(&format!("{start} --run-dir {name} --set train.steps=2 --set train.eval_every=2"));
        let lines = place.metrics(name);
        let first = lines.iter().find(|line| line["step"] == 1).expect("a line");
        let loss = first["loss"].as_f64().expect("loss");
        assert!((loss - expected).abs() < 1e-6, "{name}: {loss}, expected {expected}");
        assert!(metrics.iter().all(|metric| first[metric].is_number()), "{name}: {metrics:?} in {first}");
        let eval = lines.iter().rfind(|line| line["kind"] == "eval").expect("an evaluation");
        assert!(
            eval["values"]["rewards/image_gap"].is_number() && eval["values"]["loss"].is_number(),
            "{name}: {eval}"
        );
    }
}

#[test]
fn pairs_of_text_alone_are_left_out_where_a_loss_looks_at_pictures_and_of_the_image_gap() {
    let place = place();
    let pair = |number: usize| {
        let said = |role: &str, text: &str| serde_json::json!([{ "role": role, "content": text }]);
        serde_json::json!({ "prompt": said("user", &format!("say {number}")), "chosen": said("assistant", &format!("it is {number}")),
            "rejected": said("assistant", "I do not know") })
    };
    let rows = (0..16).map(|number| pair(number).to_string() + "\n").collect::<String>();
    place.write("text/train.jsonl", rows.as_bytes());
    let data = "--data text --set data.eval.name=text --set data.eval.path=text --set data.eval.split=train --set data.template=vicuna_v1";
    let start =
        format!("dpo --config pairs.toml --init checkpoints/pretrain-tiny {CONSTANT} {data} --set train.steps=1");
    place.ok(&format!("{start} --run-dir plain"));
    let eval = place.metrics("plain").into_iter().rfind(|line| line["kind"] == "eval").expect("an evaluation");
    assert!(eval["values"]["rewards/margins"].is_number() && eval["values"]["rewards/image_gap"].is_null(), "{eval}");
    place.fails(&format!("{start} {MDPO} --run-dir mdpo"), 3, &["no_medium", "hint:"]);
    // Too many of them while the reference is asked: they are on record, and how to begin again is said.
    let quarantine = String::from_utf8(place.read("mdpo/quarantine.jsonl")).expect("UTF-8");
    assert!(quarantine.lines().count() > 1 && quarantine.contains("no_medium"), "{quarantine}");
    let again = "dpo --resume mdpo -q --set data.max_skip_ratio=0.9";
    place.fails(again, 2, &["`data.max_skip_ratio`", "`--run-dir`"]);
}

#[test]
fn a_stage_refuses_the_data_and_the_objective_of_another() {
    let place = place();
    let init = "--init checkpoints/pretrain-tiny --run-dir run";
    place.ok("data synth --like rlhf-v --out pairs --samples 16 --size 32");
    place.ok("data synth --like llava-instruct --out talks --samples 16 --size 32");
    for (command, code, words) in [
        ("sft --config talks.toml --data pairs", 2, "which preference alignment (`mmtrain dpo`) learns from"),
        ("dpo --config pairs.toml --data talks", 2, "which instruction tuning (`mmtrain sft`) learns from"),
        ("dpo --config pairs.toml --data data", 2, "holds captions, which alignment (`mmtrain pretrain`) learns from"),
        ("pretrain --config tiny.toml --data talks", 2, "which instruction tuning (`mmtrain sft`) learns from"),
        (
            "dpo --config pairs.toml --set data.eval.name=talks --set data.eval.path=talks",
            2,
            "which instruction tuning (`mmtrain sft`) learns from",
        ),
        (
            "sft --config talks.toml --set data.eval.name=pairs --set data.eval.path=pairs",
            2,
            "which preference alignment (`mmtrain dpo`) learns from",
        ),
        ("dpo --config talks.toml", 2, "`objective.kind` is \"next_token\""),
        ("sft --config pairs.toml", 2, "is for `mmtrain dpo`"),
        (
            "dpo --config pairs.toml --set objective.loss=exo_pair --set objective.label_smoothing=0",
            2,
            "label_smoothing",
        ),
        ("dpo --config pairs.toml --set data.packing=true", 2, "`data.packing` does not go with"),
        ("dpo --config pairs.toml --set objective.loss=kto", 2, "`split_pairs = true` of the source"),
        (
            "dpo --config pairs.toml --set objective.loss=kto --set data.sources.0.split_pairs=true",
            2,
            "`split_pairs = true` of the source",
        ),
        ("dpo --config pairs.toml --set data.eval.split_pairs=true", 2, "which learns from single answers"),
        ("dpo --config pairs.toml --set data.sources.0.split_pairs=true", 2, "which learns from single answers"),
        (
            "dpo --config pairs.toml --set objective.loss=kto --set objective.dense={}",
            2,
            "`objective.dense` is for pairs of answers",
        ),
        ("dpo --config pairs.toml --set objective.terms=[{loss='kto'}]", 2, "learns from single answers"),
        (
            "dpo --config pairs.toml --set objective.loss=hinge --set objective.label_smoothing=0.1",
            2,
            "`objective.label_smoothing` is for \"sigmoid\", \"robust\", \"exo_pair\", \"aot\", \"aot_unpaired\", \"simpo\" and \
             \"cpo\", `objective.loss` is \"hinge\"",
        ),
        ("dpo --config pairs.toml --set objective.gamma=1.5", 2, "`objective.gamma` is for \"simpo\""),
        ("dpo --config pairs.toml --set objective.undesirable_weight=2", 2, "is for \"kto\""),
    ] {
        for dry in ["", "--dry-run"] {
            place.fails(&format!("{command} {init} {dry}"), code, &[words, "hint:"]);
            assert!(!place.path("run").exists(), "{command} {dry}");
        }
    }
    place.ok(&format!("sft --config talks.toml --data pairs {init} -q --set data.sources.0.better_answer=true"));
}

#[test]
fn data_of_a_later_stage_are_checked_with_what_it_starts_from() {
    let place = place();
    // What `talks.toml` describes; that of `pairs.toml` is made on first use.
    place.ok("data synth --like llava-instruct --out llava-instruct --samples 24 --seed 5 --size 32");
    let check = "data check --config pairs.toml";
    place.fails(check, 2, &["`model.decoder.weights` or `model.decoder.arch` is needed", "`--init RUN|CKPT|HF_DIR`"]);
    let check = format!("{check} --init checkpoints/pretrain-tiny");
    let pairs = json(place.ok(&format!("{check} --json")).stdout.as_bytes())["ok"].as_u64().expect("a number");
    let train = json(place.ok("data check ./rlaif-v --split train --json").stdout.as_bytes())["ok"].as_u64();
    assert!(train.is_some_and(|train| train < pairs), "{pairs} with those that are held out");
    let split = json(place.ok(&format!("{check} {KTO} --json")).stdout.as_bytes())["ok"].as_u64();
    assert_eq!(split, Some(2 * pairs), "both answers of each pair, each with the answer to something else");
    // What is counted is what a run of that stage would leave out.
    let talks = "--set data.sources=[{name='talks',path='llava-instruct'}]";
    let no_held_out = "--set data.eval={name='rlaif-v',path='rlaif-v',split='train'}";
    for (sets, ok, reason) in [
        ("--set objective.loss=kto", 0, "not_judged"),
        (&format!("{talks} {no_held_out}"), 24, "no_pair"),
        ("./llava-instruct", 0, "no_pair"),
    ] {
        let report = json(place.exits(&format!("{check} {sets} --json"), 3).stdout.as_bytes());
        assert!(report["ok"] == ok && report["reasons"][reason] == report["bad"], "{report}");
    }
    place.fails(&format!("{check} --split train"), 2, &["--split"]);
    // Without a configuration data of any stage are.
    place.ok("data check ./rlaif-v");
    place.ok("data check ./llava-instruct");
    // Words are counted in the tokens of the model.
    place.ok("export --model checkpoints/pretrain-tiny --out hf -q");
    let shown = "data show -n 1 --json --config talks.toml --init hf";
    place.ok(shown);
    place.write("hf/tokenizer.json", b"{}");
    place.fails(shown, 3, &["tokenizer.json"]);
}

#[test]
fn an_evaluation_of_split_pairs_sees_both_answers_of_each() {
    let place = place();
    let start = format!("dpo --config pairs.toml --init checkpoints/pretrain-tiny {CONSTANT} {KTO} --run-dir run");
    place.ok(&format!("{start} --set train.steps=1 --set train.eval_every=1 --set eval.samples=3"));
    let eval = place.metrics("run").into_iter().rfind(|line| line["kind"] == "eval").expect("an evaluation");
    assert!(["logps/chosen", "logps/rejected"].iter().all(|name| eval["values"][name].is_number()), "{eval}");
}

#[test]
fn a_model_goes_on_with_its_own_tokenizer() {
    let place = place();
    place.ok("export --model checkpoints/pretrain-tiny --out hf -q");
    place.ok("pretrain --config tiny.toml -q --run-dir other --set train.steps=1 --set model.tokenizer.train_bpe.vocab_size=280");
    let start = "sft --config talks.toml --run-dir run -q --set train.steps=1";
    for init in ["checkpoints/pretrain-tiny", "hf"] {
        let other = format!("{start} --init {init} --set model.tokenizer={{path='other/tokenizer.json'}}");
        let words = ["`model.tokenizer.path` is `other/tokenizer.json`", init, "leave `model.tokenizer` out"];
        place.fails(&other, 2, &words);
        assert!(!place.path("run").exists());
        let check = "config check talks.toml --set model.tokenizer={path='other/tokenizer.json'}";
        place.fails(&format!("{check} --init {init}"), 2, &words);
        place.fails(&other.replace("other/", "none/"), 3, &["`model.tokenizer.path`", "none/tokenizer.json", "hint:"]);
    }
    let told = place.ok(&format!("{start} --init hf --set model.tokenizer.path=hf")).stderr;
    assert!(!told.contains("tokenizer"), "{told}");
    let start = "sft --config talks.toml --init checkpoints/pretrain-tiny -q --set train.steps=1";
    let told = place.ok(&format!("{start} --run-dir anew --set model.tokenizer.train_bpe.vocab_size=280")).stderr;
    assert!(told.contains("is not learned anew"), "{told}");
    assert!(place.read("anew/tokenizer.json") == place.read("checkpoints/pretrain-tiny/tokenizer.json"));
}

#[test]
fn held_out_pairs_are_asked_for_where_the_run_evaluates() {
    let place = place();
    let start = "dpo --config pairs.toml --init checkpoints/pretrain-tiny --set schedule.kind=constant --run-dir run";
    let asked = |command: &str| {
        let told = place.ok(command).stderr;
        let number =
            told.split("reference model: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        number.unwrap_or_else(|| panic!("{told}"))
    };
    assert_eq!(asked(&format!("{start} --set train.steps=3 --set train.eval_every=0")), 3 * 4);
    let later = asked("dpo --resume run --set train.steps=4 --set train.eval_every=1");
    assert!(later > 4, "{later}: those of one step more, and what is held out");
    assert!(place.metrics("run").iter().any(|line| line["kind"] == "eval"));
}

#[test]
fn a_run_goes_on_without_what_it_began_from() {
    let place = place();
    let whole = format!("{CONSTANT} --set train.encoder.tuning={{full={{lr=1e-4}}}}");
    let start = format!("sft --config talks.toml --init checkpoints/pretrain-tiny {whole}");
    place.ok(&format!("{start} --run-dir whole"));
    place.ok(&format!("{start} --run-dir cut --set train.steps=3"));
    place.ok("sft --config talks.toml --init checkpoints/pretrain-tiny -q --run-dir frozen --set train.steps=3");
    place.ok(&format!("dpo --config pairs.toml --init whole --run-dir pairs {whole} --set train.steps=3"));
    for gone in ["checkpoints/pretrain-tiny", "whole"] {
        fs_err::rename(place.path(gone), place.path(&format!("{gone}-moved"))).expect("moved");
    }
    // One command line, and what the run itself knows.
    place.ok(&format!("{start} --run-dir cut --resume cut --set train.steps=5"));
    place.ok("sft --resume cut -q --set train.steps=6");
    assert!(
        place.read("cut/step-00000006/model.safetensors") == place.read("whole-moved/step-00000006/model.safetensors")
    );
    place.ok("dpo --resume pairs -q --set train.steps=3");
    // What is still needed of it is named.
    place.fails("sft --resume frozen -q --set train.steps=4", 3, &["checkpoints/pretrain-tiny", "encoder", "hint:"]);
    place.fails("dpo --resume pairs -q --set train.steps=4", 3, &["whole", "hint:"]);
}

#[test]
fn a_reference_table_of_another_model_is_refused() {
    let place = place();
    let start = format!("dpo --config pairs.toml --init checkpoints/pretrain-tiny {CONSTANT} --set train.steps=3");
    place.ok(&format!("{start} --run-dir run"));
    let mut table = place.read("run/reference.bin");
    table[10] ^= 1;
    place.write("run/reference.bin", &table);
    place.fails(
        "dpo --resume run -q --set train.steps=4",
        4,
        &["reference.bin", "another reference model", "without it they are computed again"],
    );
}

#[test]
fn a_reference_that_is_no_longer_what_the_run_started_from_is_not_asked() {
    let place = place();
    place.ok("export --model checkpoints/pretrain-tiny --out hf -q");
    let encoder = "--set train.encoder.tuning={full={lr=1e-4}}";
    place.ok(&format!("dpo --config pairs.toml --init hf --run-dir run {CONSTANT} {encoder} --set train.steps=3"));
    let sound = place.read("hf/model.safetensors");
    let mut changed = sound.clone();
    *changed.last_mut().expect("weights") ^= 1;
    place.write("hf/model.safetensors", &changed);
    place.fails("dpo --resume run -q --set train.steps=4", 3, &["hf", "is not what the run started from", "hint:"]);
    place.write("hf/model.safetensors", &sound);
    place.ok("dpo --resume run -q --set train.steps=4");
}

#[test]
fn a_run_of_another_model_is_refused_with_all_differences() {
    let place = place();
    let other = "--set model.decoder.arch.hidden_size=48 --set model.encoder.arch.num_hidden_layers=9";
    let start = format!("sft --config talks.toml --init checkpoints/pretrain-tiny --run-dir run {other}");
    place.fails(&start, 2, &["`model.decoder.arch.hidden_size`: 48, the model has", "num_hidden_layers`: 9,", "hint:"]);
    assert!(!place.path("run").exists());
}

/// A chat template that writes what there is, one turn a line.
const CHAT: &str = "{% for turn in messages %}{{ turn.role }}:{% for part in turn.content %}\
    {% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}\
    {% if add_generation_prompt %}assistant:{% endif %}";

#[test]
fn a_model_from_the_hub_brings_its_sizes_and_its_chat_template() {
    let place = place();
    place.ok("data synth --like llava-instruct --out datasets/llava-instruct --samples 16 --size 32");
    place.ok("export --model checkpoints/pretrain-tiny --out hf -q");
    place.write("hf/chat_template.jinja", CHAT.as_bytes());
    fs_err::remove_file(place.path("hf/mmtrain.toml")).expect("what only exports have");
    let start = "sft --init hf --data llava-instruct --set train.global_batch_size=4 --set train.epochs=2 -q";
    place.ok(&format!("{start} --run-dir run"));
    let config = String::from_utf8(place.read("run/config.toml")).expect("text");
    assert!(config.contains("template = \"chat\"") && config.contains("weights = "), "{config}");
    place.ok("sft --resume run --set train.epochs=3 -q");
    place.ok(&format!("{start} --run-dir other --set data.template=vicuna_v1"));
    let config = String::from_utf8(place.read("other/config.toml")).expect("text");
    assert!(config.contains("template = \"vicuna_v1\""), "{config}");
    place.ok("sft --resume other --set train.epochs=3 -q");
}

#[test]
fn a_directory_is_asked_as_its_checkpoint_or_its_run_writes_conversations() {
    let place = place();
    // So small a model says the same to all; how many tokens it was asked with tells how.
    let asked_with = |model: &str| {
        let how = "--prompt what? --image a.png --max-new-tokens 4 --stats --json -q";
        let done = place.ok(&format!("generate --model {model} {how}")).stdout;
        let said: serde_json::Value = serde_json::from_str(&done).expect("JSON");
        said["stats"]["prompt_tokens"].as_u64().expect("a number")
    };
    place.write("a.png", include_bytes!("../fixtures/media/resize/texture_64x64.png"));
    place.ok("data synth --like llava-instruct --out datasets/llava-instruct --samples 16 --size 32");
    place.ok("sft --data llava-instruct --init checkpoints/pretrain-tiny --run-dir talks -q --set train.epochs=2 \
              --set train.global_batch_size=4 --set data.template=vicuna_v1 --set data.max_seq=1024");
    // What a run wrote is asked as the run is, also when it was exported and quantized.
    let of_run = asked_with("talks");
    place.ok("export --model talks --out hf -q");
    place.ok("quantize --model hf --bits 8 --out packed -q");
    assert_eq!([asked_with("hf"), asked_with("packed")], [of_run; 2]);
    let settings = |dir: &str| String::from_utf8(place.read(&format!("{dir}/mmtrain.toml"))).expect("text");
    assert!(settings("hf").contains("template = \"vicuna_v1\"") && settings("packed") == settings("hf"));
    // For other programs the same stands in a chat template, by which mmtrain goes where nothing else says it; without that a
    // prompt stands for itself.
    fs_err::remove_file(place.path("hf/mmtrain.toml")).expect("removed");
    assert_eq!(asked_with("hf"), of_run);
    fs_err::remove_file(place.path("hf/chat_template.jinja")).expect("removed");
    let bare = asked_with("hf");
    assert!(bare + 20 < of_run, "{bare} tokens, and {of_run} with all that Vicuna says before");
    // `plain` cannot say what would be learned, since it throws questions away then. To ask, that is not needed.
    place.ok("export --model checkpoints/pretrain-tiny --out captions -q");
    let of_run = asked_with("captions");
    fs_err::remove_file(place.path("captions/mmtrain.toml")).expect("removed");
    assert_eq!(asked_with("captions"), of_run);
    // To be measured on answers, it is.
    place.fails(
        "eval --model captions --data datasets/llava-instruct --limit 2",
        3,
        &["none of 2 samples can be used"],
    );
}

#[test]
fn the_presets_of_later_stages_take_the_model_of_the_run_before() {
    let place = place();
    place.ok("data synth --like llava-instruct --out datasets/llava-instruct --samples 16 --size 32");
    place.ok("data synth --like rlhf-v --out datasets/rlhf-v --samples 16 --size 32");
    place.ok("sft --data llava-instruct --set train.global_batch_size=4 --set data.max_seq=1024 -q");
    let done = place.ok("dpo --set train.epochs=1");
    assert!(done.stderr.contains("starting from `checkpoints/sft-run`"), "{}", done.stderr);
    assert!(done.stderr.contains("reference model: 16 pairs"), "{}", done.stderr);
    let config = String::from_utf8(place.read("checkpoints/dpo-run/config.toml")).expect("text");
    assert!(config.contains("template = \"vicuna_v1\""), "as the run before has it: {config}");
}
