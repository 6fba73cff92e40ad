//! Checkpoints that cannot be meant seriously: each is refused, with what is wrong and where.

use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A file of F32 tensors `[2]`, or of another type and shape that also take eight bytes.
fn file(tensors: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut header = String::new();
    for (index, (name, dtype, shape)) in tensors.iter().enumerate() {
        let (from, to) = (8 * index, 8 * index + 8);
        let comma = if index > 0 { "," } else { "" };
        write!(header, r#"{comma}"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
            .expect("to a string");
    }
    let header = format!("{{{header}}}");
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; 8 * tensors.len()]].concat()
}

fn floats(names: &[&str]) -> Vec<u8> {
    file(&names.iter().map(|&name| (name, "F32", "[2]")).collect::<Vec<_>>())
}

/// Two shards with a tensor each, and the index that belongs to them.
fn sharded() -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    write(dir.path(), "one.safetensors", &floats(&["a"]));
    write(dir.path(), "two.safetensors", &floats(&["b"]));
    write(
        dir.path(),
        INDEX,
        br#"{"metadata":{"total_size":16},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#,
    );
    dir
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    fs_err::write(dir.join(name), bytes).expect("written");
}

fn info(name: &str, shape: &[usize]) -> ParamInfo {
    ParamInfo { name: name.into(), part: Part::Decoder, shape: shape.to_vec(), layout: Layout::Same }
}

fn refusal(dir: &Path) -> String {
    Checkpoint::open(dir).expect_err("refused").to_string()
}

#[test]
fn an_index_names_files_beside_it() {
    let dir = sharded();
    assert_eq!(Checkpoint::open(dir.path()).expect("opens").names().collect::<Vec<_>>(), ["a", "b"]);
    let outside = tempfile::tempdir().expect("temp dir");
    write(outside.path(), "two.safetensors", &floats(&["b"]));
    let absolute = outside.path().join("two.safetensors").display().to_string();
    for (shard, words) in [
        (absolute.as_str(), "holds a path"),
        ("../two.safetensors", "holds a path"),
        ("sub/two.safetensors", "holds a path"),
        (r"..\\two.safetensors", "holds a path"),
        ("..", "shard `..` is no safetensors file"),
        ("", "shard `` is no safetensors file"),
        ("pytorch_model.bin", "shard `pytorch_model.bin` is no safetensors file"),
        (r"two\u0000.safetensors", r"shard `two\0.safetensors` is no safetensors file"),
        ("three.safetensors", "1 of its 2 shards are not there: three.safetensors"),
    ] {
        let index = format!(r#"{{"weight_map":{{"a":"one.safetensors","b":"{shard}"}}}}"#);
        write(dir.path(), INDEX, index.as_bytes());
        let message = refusal(dir.path());
        assert!(message.contains(words) && message.contains(INDEX), "{shard}: {message}");
    }
}

/// The hub's cache is made of links into another directory.
#[test]
fn a_shard_may_be_a_link_out_of_the_directory() {
    let (dir, blobs) = (sharded(), tempfile::tempdir().expect("temp dir"));
    fs_err::rename(dir.path().join("two.safetensors"), blobs.path().join("0123abcd")).expect("moved");
    fs_err::os::unix::fs::symlink(blobs.path().join("0123abcd"), dir.path().join("two.safetensors")).expect("linked");
    assert_eq!(Checkpoint::open(dir.path()).expect("opens").names().count(), 2);
    fs_err::remove_file(blobs.path().join("0123abcd")).expect("removed");
    assert!(refusal(dir.path()).contains("two.safetensors"));
}

#[test]
fn an_index_that_is_none_is_named() {
    let dir = sharded();
    for (index, words) in [
        (r#"{"weight_map":{"a":"one.safetensors","b":7}}"#, "tensor `b`: invalid type"),
        (r#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#, "tensor `a` stands there twice"),
        (r#"{"weight_map":{}}"#, "`weight_map` is empty"),
        (r#"{"weight_map":[]}"#, "no index of shards"),
        (r#"{"metadata":{}}"#, "missing field `weight_map`"),
        ("", "no index of shards"),
    ] {
        write(dir.path(), INDEX, index.as_bytes());
        let message = refusal(dir.path());
        assert!(message.contains(words) && message.contains(INDEX), "{index}: {message}");
    }
    write(dir.path(), INDEX, b"\xff\xfe");
    assert!(refusal(dir.path()).contains(INDEX));
}

#[test]
fn shards_hold_what_is_promised_and_hold_it_once() {
    let dir = sharded();
    write(dir.path(), "two.safetensors", &floats(&["c"]));
    let message = refusal(dir.path());
    assert!(
        message.contains("1 tensors are not in the shards in which they should be: `b` in `two.safetensors`"),
        "{message}"
    );
    write(dir.path(), "two.safetensors", &floats(&["a", "b"]));
    let message = refusal(dir.path());
    assert!(message.contains("1 tensors are there twice: `a` in `one.safetensors` and `two.safetensors`"), "{message}");
    // A tensor that the index does not list is one that nobody may need.
    write(dir.path(), "two.safetensors", &floats(&["b", "c"]));
    assert_eq!(Checkpoint::open(dir.path()).expect("opens").unused(&[info("a", &[2])]), ["b", "c"]);
}

#[test]
fn number_types_that_are_no_weights_are_named_all_at_once() {
    let dir = tempfile::tempdir().expect("temp dir");
    let tensors =
        [("a", "F8_E4M3", "[8]"), ("b", "U16", "[4]"), ("c", "I32", "[2]"), ("d", "F64", "[1]"), ("e", "BF16", "[4]")];
    write(dir.path(), SINGLE, &file(&tensors));
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let infos = [info("a", &[8]), info("b", &[4]), info("c", &[2]), info("d", &[1]), info("e", &[4])];
    let error = checkpoint.check(&infos).expect_err("refused");
    assert!(
        error.to_string().contains("3 tensors of number types that are not supported: a: F8_E4M3, b: U16, c: I32"),
        "{error}"
    );
    assert!(error.hint().expect("a hint").contains("quantised"));
    assert!(checkpoint.read_all(&infos[3..]).is_ok());
    write(dir.path(), SINGLE, &file(&[("a", "F9", "[8]")]));
    assert!(refusal(dir.path()).contains("tensor `a` is of the unknown number type `F9`"));
}

#[test]
fn what_is_missing_and_what_is_of_another_shape_are_said_together() {
    let dir = tempfile::tempdir().expect("temp dir");
    write(dir.path(), SINGLE, &floats(&["a", "b"]));
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let error =
        checkpoint.check(&[info("a", &[2]), info("b", &[3]), info("c", &[1]), info("d", &[1])]).expect_err("refused");
    let message = error.to_string();
    assert!(
        message.contains("lacks 2 of the model's tensors: c, d; of another shape: b: file [2], model [3]"),
        "{message}"
    );
}

#[test]
fn what_is_no_file_is_not_read() {
    let dir = sharded();
    fs_err::remove_file(dir.path().join("two.safetensors")).expect("removed");
    fs_err::create_dir(dir.path().join("two.safetensors")).expect("made");
    assert!(refusal(dir.path()).contains("two.safetensors"));
}

/// Norms stay f32; halves are counted as what they are.
#[test]
fn memory_is_counted_before_anything_is_read() {
    let dir = tempfile::tempdir().expect("temp dir");
    write(dir.path(), SINGLE, &file(&[("a", "BF16", "[4]"), ("b", "BF16", "[2, 2]"), ("c", "F32", "[2, 1]")]));
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let infos = [info("a", &[4]), info("b", &[2, 2]), info("c", &[2, 1])];
    assert_eq!(checkpoint.bytes(&infos, LoadDtype::F32), 16 + 16 + 8);
    assert_eq!(checkpoint.bytes(&infos, LoadDtype::AsStored), 16 + 8 + 8);
}
