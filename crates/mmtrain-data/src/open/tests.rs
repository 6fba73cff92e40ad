//! Every fixture opened as users open theirs: detected, read to the end, with the media that it names.

use std::collections::BTreeMap;

use mmtrain_synth::{Like, SynthOptions, write_dataset};
use mmtrain_text::{MediaRef, Part};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name)
}

fn opened(name: &str, options: &OpenOptions) -> Arc<dyn Source> {
    let path = fixture(name);
    let Detected { format, .. } = detect(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    open("set", &path, format, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// How many samples can be used, and how many cannot, by reason.
fn outcome(source: &dyn Source) -> (usize, BTreeMap<String, usize>) {
    let (mut good, mut bad) = (0, BTreeMap::new());
    for index in 0..source.len() {
        match source.get(index) {
            Ok(_) => good += 1,
            Err(error) => *bad.entry(error.0.reason).or_default() += 1,
        }
    }
    (good, bad)
}

#[track_caller]
fn check(name: &str, options: &OpenOptions, good: usize, bad: &[(&str, usize)]) {
    let source = opened(name, options);
    let bad = bad.iter().map(|&(reason, count)| (reason.to_owned(), count)).collect();
    assert_eq!(outcome(source.as_ref()), (good, bad), "{name}");
}

fn split(split: &str) -> OpenOptions {
    OpenOptions { split: Some(split.into()), ..OpenOptions::default() }
}

#[test]
fn sets_of_captions_are_read() {
    let all = &OpenOptions::default();
    check("cc3m_tsv", all, 2, &[("missing_media", 1)]);
    check("saved_to_disk", all, 3, &[]);
    check("saved_to_disk", &split("validation"), 1, &[]);
    check("coco", all, 3, &[("missing_media", 1)]);
    check("coco", &split("train"), 3, &[("missing_media", 1)]);
    check("coco_karpathy", &split("train"), 1, &[]);
    check("coco_karpathy", &split("val"), 5, &[]);
    let first = OpenOptions { captions: Captions::First, ..split("val") };
    check("coco_karpathy", &first, 1, &[]);
    check("image_folder", all, 2, &[]);
}

#[test]
fn sets_of_conversations_are_read() {
    let all = &OpenOptions::default();
    check("llava_cc3m", all, 2, &[]);
    check("llava_pretrain", all, 2, &[]);
    check("llava_instruct", all, 2, &[]);
    check("llava_mix665k", all, 7, &[("missing_media", 1)]);
    check("sharegpt4v", all, 3, &[]);
    check("messages", all, 2, &[]);
    check("messages_parquet", all, 1, &[]);
    check("ms_swift", all, 3, &[]);
}

#[test]
fn sets_of_clips_and_sounds_are_read() {
    let all = &OpenOptions::default();
    check("msr_vtt", all, 4, &[]);
    check("msr_vtt", &split("train"), 3, &[]);
    check("msr_vtt", &split("validation"), 1, &[]);
    check("msr_vtt_parquet", all, 0, &[("missing_media", 2)]);
    check("video_chatgpt", all, 2, &[]);
    check("llava_video", all, 1, &[("missing_media", 1)]);
    check("clotho", all, 10, &[]);
    check("wavcaps", all, 4, &[]);
    let list = PathBuf::from("json_files/blacklist/blacklist_exclude_all_ac.json");
    check("wavcaps", &OpenOptions { exclude: vec![list], ..OpenOptions::default() }, 3, &[]);
    check("wavcaps_5", all, 0, &[("missing_media", 5)]);
}

#[test]
fn sets_of_preferences_are_read() {
    let all = &OpenOptions::default();
    check("rlhf_v", all, 1, &[("bad_json", 1), ("identical_answers", 1)]);
    check("rlaif_v", all, 2, &[("empty_answer", 2)]);
    check("preference", all, 1, &[]);
    check("vlfeedback", all, 2, &[]);
    check("povid", all, 1, &[]);
    check("mmpr", all, 2, &[]);
}

#[test]
fn an_entry_of_llama_factory_is_chosen_by_the_name_of_the_source() {
    for name in ["mllm_demo", "trap", "alpaca_demo", "ranked"] {
        let source = open(name, &fixture("llama_factory"), Format::LlamaFactory, &OpenOptions::default());
        assert_eq!(outcome(source.expect("opened").as_ref()), (1, BTreeMap::new()), "{name}");
    }
    let error = open("other", &fixture("llama_factory"), Format::LlamaFactory, &OpenOptions::default()).err();
    let error = error.expect("several").to_string();
    assert!(error.contains("`mllm_demo`, `trap`, `alpaca_demo`, `ranked`"), "{error}");
}

#[test]
fn annotations_media_and_maps_can_be_named() {
    let options = OpenOptions {
        annotations: vec!["llava_pretrain/blip_laion_cc_sbu_558k.json".into()],
        media: vec!["llava_pretrain/images.zip".into(), "sharegpt4v".into()],
        path_map: vec![PathMap { from: "00453/".into(), to: "llava/llava_pretrain/images/00453".into() }],
        ..OpenOptions::default()
    };
    let source = open("set", &fixture(""), Format::Llava, &options).expect("opened");
    assert_eq!(outcome(source.as_ref()), (1, [("missing_media".to_owned(), 1)].into()));
    assert_eq!(source.id(1).to_string(), "set/blip_laion_cc_sbu_558k.json/1");
}

#[test]
fn of_the_files_of_several_sets_a_set_has_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let rows = |number: usize| {
        format!(
            r#"[{{"id": {number}, "conversations": [{{"from": "human", "value": "q"}}, {{"from": "gpt", "value": "a{number}"}}]}}]"#
        )
    };
    for (number, name) in ["llava_instruct_150k.json", "llava_v1_5_mix665k.json", "detail_23k.json"].iter().enumerate()
    {
        fs_err::write(dir.path().join(name), rows(number)).expect("written");
    }
    for (name, answer) in [("llava-instruct", "a0"), ("llava-mix665k", "a1")] {
        let source = open(name, dir.path(), Format::Llava, &OpenOptions::default()).expect("opened");
        let conversation = source.get(0).expect("a row").conversation;
        assert_eq!((source.len(), conversation.turns[1].text()), (1, answer.to_owned()));
    }
    let error = open("mine", dir.path(), Format::Llava, &OpenOptions::default()).err().expect("several");
    assert!(error.to_string().contains("several files of rows"), "{error}");
}

#[test]
fn boxes_and_keypoints_of_coco_lie_beside_its_captions() {
    let dir = tempfile::tempdir().expect("a directory");
    let captions = r#"{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "id": 2, "caption": "a dog"}]}"#;
    for name in ["captions_train2017.json", "instances_train2017.json", "person_keypoints_train2017.json"] {
        fs_err::write(dir.path().join(name), captions).expect("written");
    }
    assert_eq!(open("coco", dir.path(), Format::Coco, &OpenOptions::default()).expect("opened").len(), 1);
}

#[test]
fn of_several_files_those_that_are_meant_have_to_be_named() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["coco_karpathy_a.json", "coco_karpathy_b.json"] {
        fs_err::copy(fixture("coco_karpathy/coco_karpathy_val.json"), dir.path().join(name)).expect("copied");
    }
    let error = open("set", dir.path(), Format::Coco, &OpenOptions::default()).err().expect("several");
    assert!(error.to_string().contains("several files of rows"), "{error}");
    check("coco_karpathy", &OpenOptions::default(), 1, &[]);
    let named = OpenOptions { annotations: vec!["coco_karpathy_val.json".into()], ..OpenOptions::default() };
    check("coco_karpathy", &named, 5, &[]);
    let error = open("set", &fixture("nowhere"), Format::Llava, &OpenOptions::default()).err().expect("not there");
    assert!(matches!(error, DataError::NotFound { .. }));
}

#[test]
fn a_split_that_no_file_has_is_named_with_those_that_are_there() {
    let error = open("set", &fixture("coco"), Format::Coco, &split("test")).err().expect("no such split").to_string();
    assert!(error.contains("no `test` shards") && error.contains("captions_train2017.json"), "{error}");
}

#[test]
fn made_up_sets_are_read_with_what_is_known_of_them() {
    let likes = [
        Like::Cc3m,
        Like::ShareGpt4v,
        Like::LlavaInstruct,
        Like::Llavar,
        Like::Reading,
        Like::RlhfV,
        Like::RlaifV,
        Like::WavCaps,
        Like::Clotho,
        Like::ClothoAqa,
    ];
    for like in likes {
        let dir = tempfile::tempdir().expect("a directory");
        let made = SynthOptions { validation_samples: 4, ..SynthOptions::new(12, 3) };
        write_dataset(like, &dir.path().join("set"), &made).expect("made");
        let Detected { format, .. } = detect(dir.path().join("set")).expect("known");
        for (name, at_least) in [("train", 12), ("validation", 4)] {
            let source = open("set", &dir.path().join("set"), format, &split(name)).expect("opened");
            assert!(source.len() >= at_least, "{like:?} {name}: {}", source.len());
            for index in 0..source.len() {
                let sample = source.get(index).unwrap_or_else(|error| panic!("{like:?} {name}: {error}"));
                assert!(sample.truth.is_some(), "{like:?} {}", sample.id);
            }
        }
    }
}

/// A directory with these files, of which those called `.tsv` hold `table` and the others a picture.
fn directory(table: &str, names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for name in names {
        let path = dir.path().join(name);
        fs_err::create_dir_all(path.parent().expect("below")).expect("made");
        let picture = crate::fixtures::jpeg(8, 8, 1);
        fs_err::write(&path, if name.ends_with("tsv") { table.as_bytes() } else { &picture }).expect("written");
    }
    dir
}

/// What is said of each sample, or why there is none.
fn answers(dir: &Path, options: &OpenOptions) -> Vec<String> {
    let source = open("set", dir, detect(dir).expect("known").format, options).expect("opened");
    let said = |index| match source.get(index) {
        Ok(sample) => sample.conversation.turns[1].text(),
        Err(error) => error.0.reason,
    };
    (0..source.len()).map(said).collect()
}

#[test]
fn pictures_of_a_table_without_names_are_those_called_by_its_rows() {
    let all = &OpenOptions::default();
    let two = "a boat\thttp://a/1\na car\thttp://a/2\n";
    for names in
        [["images/0.jpg", "images/x.jpg"], ["000000000.png", "x.jpg"], ["00000/000000000.jpg", "00000/000000000.json"]]
    {
        let dir = directory(two, &[&["GCC.tsv"], &names[..1]].concat());
        assert_eq!(answers(dir.path(), all), ["a boat", "missing_media"], "{names:?}");
    }
    let headed = directory(&format!("caption\turl\n{two}"), &["GCC.tsv", "1.jpg"]);
    assert_eq!(answers(headed.path(), all), ["missing_media", "a car"]);
    let three = directory("a boat\thttp://a/1\tx/b.jpg\n", &["GCC.tsv", "x/b.jpg", "0.jpg"]);
    assert_eq!(answers(three.path(), all), ["a boat"]);
    let from_one = directory(two, &["GCC.tsv", "1.jpg", "2.jpg"]);
    let error = open("set", from_one.path(), Format::Cc3mTsv, all).err().expect("refused").to_string();
    assert!(error.ends_with("there is a picture `2.jpg`: a column has to name the files"), "{error}");
}

#[test]
fn directories_of_classes_say_what_is_in_them() {
    let all = &OpenOptions::default();
    let plain = directory("", &["cat/1.jpg", "cat/2.png", "test_tube/1.jpg"]);
    assert_eq!(answers(plain.path(), all), ["cat", "cat", "test_tube"]);
    let splits = directory("", &["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/7.jpg"]);
    assert_eq!(answers(splits.path(), all), ["cat", "dog", "cat"]);
    assert_eq!(answers(splits.path(), &split("validation")), ["cat"]);
    let error = open("set", splits.path(), Format::ImageFolder, &split("test")).err().expect("no such split");
    assert!(matches!(error, DataError::NoSplit { .. }), "{error}");
}

#[test]
fn other_directories_of_pictures_are_not_taken_for_classes() {
    for names in
        [&["images/1.jpg"][..], &["images/1.jpg", "train2017/2.jpg"], &["1.jpg", "2.jpg"], &["a/1.jpg", "b/notes.md"]]
    {
        let dir = directory("", names);
        let error = detect(dir.path()).expect_err("unknown").to_string();
        assert!(error.contains("no two directories of pictures"), "{names:?}: {error}");
    }
    let empty = directory("", &["notes.md"]);
    let error =
        open("set", empty.path(), Format::ImageFolder, &OpenOptions::default()).err().expect("empty").to_string();
    assert!(error.contains("expected are a `metadata.csv`") && error.contains("such as `cat/1.jpg`"), "{error}");
}

#[test]
fn media_that_are_marked_by_other_words_stand_where_those_are() {
    let dir = directory("", &["1.jpg", "2.jpg"]);
    let row = r#"{"image": ["1.jpg", "2.jpg"], "conversations": [
        {"from": "human", "value": "<|image_1|> or <|image_2|>?"}, {"from": "gpt", "value": "Both."}]}"#;
    fs_err::write(dir.path().join("a.json"), format!("[{row}]")).expect("written");
    assert_eq!(answers(dir.path(), &OpenOptions::default()), ["media_mismatch"]);
    let words = ["<|image_1|>", "<|image_2|>"].map(|word| (word.to_owned(), MediaKind::Image));
    let options = OpenOptions { words: words.into(), ..OpenOptions::default() };
    let source = open("set", dir.path(), Format::Llava, &options).expect("opened");
    let [first, second] = [0, 1].map(|index| Part::Media(MediaRef::image(index)));
    let expected = [first, Part::Text(" or ".into()), second, Part::Text("?".into())];
    assert_eq!(source.get(0).expect("a sample").conversation.turns[0].parts, expected);
}
