//! `WebDataset` shards in the layout of CC3M (`pixparse/cc3m-wds`, written by img2dataset).
//!
//! `cc3m-train-0000.tar`, ... and `cc3m-validation-0000.tar`, ... of plain USTAR; per sample the members
//! `000000000.jpg`, `.json`, `.txt` in this order, keys restarting in every shard as in the real set.
//! The json has img2dataset's keys plus `scene`, the truth. `synth.json` records the options and
//! the sizes of the files.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use fs_err::File;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::raster::render;
use crate::staging::Staging;
use crate::{Like, SceneKey, SceneTruth, Split, SynthError, SynthOptions, SynthReport};

/// Raised when the same options would make other bytes.
const FORMAT_VERSION: u32 = 1;
const MANIFEST: &str = "synth.json";
const JPEG_QUALITY: u8 = 90;
/// A fixed time stamp (2022-01-01), so that equal content makes equal files.
const MTIME: u64 = 1_640_995_200;

/// `synth.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    like: Like,
    options: SynthOptions,
    shards: Vec<ShardFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ShardFile {
    name: String,
    samples: usize,
    bytes: u64,
}

/// The json beside a picture, keys in img2dataset's order.
#[derive(Serialize)]
struct SampleJson<'a> {
    caption: &'a str,
    url: String,
    key: &'a str,
    status: &'a str,
    error_message: Option<&'a str>,
    width: u32,
    height: u32,
    exif: &'a str,
    original_width: u32,
    original_height: u32,
    scene: &'a SceneTruth,
}

/// The three members of a sample.
struct Sample {
    jpg: Vec<u8>,
    json: Vec<u8>,
    txt: String,
}

/// Makes the dataset in `out`, or finds that it is there already.
///
/// The directory appears only when it is complete. One that holds anything else, or a dataset of other
/// options, is left alone and is an error.
pub fn write_cc3m(out: &Path, options: &SynthOptions) -> Result<SynthReport, SynthError> {
    write_cc3m_until(&|| false, out, options)
}

/// As [`write_cc3m`], but ends with [`SynthError::Stopped`] soon after `stop` says so; it is asked before each
/// sample, by several threads. Nothing half-made is left behind.
pub fn write_cc3m_until(
    stop: &(dyn Fn() -> bool + Sync),
    out: &Path,
    options: &SynthOptions,
) -> Result<SynthReport, SynthError> {
    options.validate()?;
    if let Some(report) = already_there(out, options)? {
        return Ok(report);
    }
    let staging = Staging::begin(out)?;
    // another writer may have finished between the look and the lock
    if let Some(report) = already_there(out, options)? {
        return Ok(report);
    }
    let go_on = || if stop() { Err(SynthError::Stopped { path: out.to_owned() }) } else { Ok(()) };
    let mut shards = Vec::new();
    for split in [Split::Train, Split::Validation] {
        let starts = (0..options.samples_of(split)).step_by(options.shard_size);
        for (number, start) in starts.enumerate() {
            let samples = make_samples(&go_on, options, split, start)?;
            shards.push(write_shard(staging.path(), split, number, &samples)?);
        }
    }
    go_on()?;
    let manifest = Manifest { format_version: FORMAT_VERSION, like: Like::Cc3m, options: options.clone(), shards };
    write_file(&staging.path().join(MANIFEST), &pretty(&manifest)?)?;
    staging.commit()?;
    Ok(report(out, &manifest, true))
}

/// The report if `out` holds this very dataset, `None` if it is absent or empty.
fn already_there(out: &Path, options: &SynthOptions) -> Result<Option<SynthReport>, SynthError> {
    if !out.exists() || (out.is_dir() && fs::read_dir(out)?.next().is_none()) {
        return Ok(None);
    }
    let path = out.join(MANIFEST);
    if !path.is_file() {
        return Err(SynthError::NotOurs { path: out.to_owned() });
    }
    let damaged = |detail: String| SynthError::Damaged { path: out.to_owned(), detail };
    let manifest: Manifest =
        serde_json::from_slice(&fs::read(&path)?).map_err(|e| damaged(format!("`{MANIFEST}`: {e}")))?;
    let mut differences = options.differences(&manifest.options);
    if manifest.format_version != FORMAT_VERSION {
        differences.push(format!("format_version is {}, now {FORMAT_VERSION}", manifest.format_version));
    }
    if !differences.is_empty() {
        return Err(SynthError::OtherOptions { path: out.to_owned(), differences: differences.join("; ") });
    }
    for shard in &manifest.shards {
        match fs::metadata(out.join(&shard.name)) {
            Ok(file) if file.len() == shard.bytes => {}
            Ok(file) => {
                return Err(damaged(format!("`{}` has {} bytes, had {}", shard.name, file.len(), shard.bytes)));
            }
            Err(_) => return Err(damaged(format!("`{}` is gone", shard.name))),
        }
    }
    Ok(Some(report(out, &manifest, false)))
}

fn report(out: &Path, manifest: &Manifest, created: bool) -> SynthReport {
    SynthReport {
        out: out.to_owned(),
        created,
        train_samples: manifest.options.samples,
        validation_samples: manifest.options.validation_samples,
        shards: manifest.shards.len(),
        bytes: manifest.shards.iter().map(|shard| shard.bytes).sum(),
    }
}

/// Renders the samples of the shard that begins at `start`, in parallel, in order.
fn make_samples(
    go_on: &(impl Fn() -> Result<(), SynthError> + Sync),
    options: &SynthOptions,
    split: Split,
    start: usize,
) -> Result<Vec<Sample>, SynthError> {
    let end = (start + options.shard_size).min(options.samples_of(split));
    let make = |i| go_on().and_then(|()| make_sample(options, split, i, i - start));
    (start..end).into_par_iter().map(make).collect()
}

/// Writes one tar file.
fn write_shard(directory: &Path, split: Split, number: usize, samples: &[Sample]) -> Result<ShardFile, SynthError> {
    let mut archive = tar::Builder::new(Vec::new());
    for (i, sample) in samples.iter().enumerate() {
        let key = key(i);
        append(&mut archive, &format!("{key}.jpg"), &sample.jpg)?;
        append(&mut archive, &format!("{key}.json"), &sample.json)?;
        append(&mut archive, &format!("{key}.txt"), sample.txt.as_bytes())?;
    }
    let bytes = archive.into_inner()?;
    let name = format!("cc3m-{}-{number:04}.tar", split.name());
    write_file(&directory.join(&name), &bytes)?;
    Ok(ShardFile { name, samples: samples.len(), bytes: bytes.len() as u64 })
}

/// Nine digits, counted within the shard.
fn key(index_in_shard: usize) -> String {
    format!("{index_in_shard:09}")
}

fn make_sample(options: &SynthOptions, split: Split, index: usize, in_shard: usize) -> Result<Sample, SynthError> {
    let scene = SceneKey { seed: options.seed, split, index: index as u64, objects: options.objects };
    let (pixels, truth, caption) = render(&scene, options.size);
    let mut jpg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpg, JPEG_QUALITY)
        .encode(&pixels, options.size, options.size, ExtendedColorType::Rgb8)
        .map_err(|source| SynthError::Encode { split: split.name(), index: scene.index, source })?;
    let json = pretty(&SampleJson {
        caption: &caption,
        url: format!("http://example.org/synth/{}/{}/{index}.jpg", options.seed, split.name()),
        key: &key(in_shard),
        status: "success",
        error_message: None,
        width: options.size,
        height: options.size,
        exif: "{}",
        original_width: options.size,
        original_height: options.size,
        scene: &truth,
    })?;
    Ok(Sample { jpg, json, txt: caption })
}

/// JSON with four spaces of indent, as img2dataset writes it.
fn pretty(value: &impl Serialize) -> Result<Vec<u8>, SynthError> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}

/// A read-only regular file of `bigdata`, as the webdataset writer makes them.
fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> Result<(), SynthError> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes.len() as u64);
    header.set_mode(0o444);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("bigdata")?;
    header.set_groupname("bigdata")?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    archive.append(&header, bytes)?;
    Ok(())
}

/// Writes and waits until the bytes are on the disk.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SynthError> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::score;

    type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

    fn small() -> SynthOptions {
        SynthOptions { validation_samples: 6, shard_size: 10, ..SynthOptions::new(25, 7) }
    }

    fn members(path: &Path) -> Outcome<Vec<(String, Vec<u8>)>> {
        let mut members = Vec::new();
        for entry in tar::Archive::new(File::open(path)?).entries()? {
            let mut entry = entry?;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            members.push((entry.path()?.display().to_string(), bytes));
        }
        Ok(members)
    }

    fn contents(directory: &Path) -> Outcome<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            files.insert(entry.file_name().display().to_string(), fs::read(entry.path())?);
        }
        Ok(files)
    }

    #[test]
    fn the_layout_is_that_of_cc3m() -> Outcome<()> {
        let root = tempfile::tempdir()?;
        let out = root.path().join("set");
        let report = write_cc3m(&out, &small())?;
        assert_eq!((report.shards, report.created), (4, true));
        let names: Vec<_> = contents(&out)?.into_keys().collect();
        let expected =
            ["cc3m-train-0000.tar", "cc3m-train-0001.tar", "cc3m-train-0002.tar", "cc3m-validation-0000.tar"];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], [MANIFEST]);
        let last = members(&out.join("cc3m-train-0002.tar"))?;
        let names: Vec<_> = last.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 15);
        assert_eq!(names[..4], ["000000000.jpg", "000000000.json", "000000000.txt", "000000001.jpg"]);
        Ok(())
    }

    #[test]
    fn picture_text_and_json_belong_together() -> Outcome<()> {
        #[derive(Deserialize)]
        struct Json {
            caption: String,
            key: String,
            exif: String,
            width: u32,
            scene: SceneTruth,
        }
        let root = tempfile::tempdir()?;
        let out = root.path().join("set");
        write_cc3m(&out, &small())?;
        let members = members(&out.join("cc3m-train-0001.tar"))?;
        for (i, sample) in members.chunks(3).enumerate() {
            let json: Json = serde_json::from_slice(&sample[1].1)?;
            assert_eq!(json.caption.as_bytes(), sample[2].1);
            assert_eq!((json.key, json.exif.as_str(), json.width), (format!("{i:09}"), "{}", 64));
            assert!(score(&json.caption, &json.scene).is_perfect());
            let (pixels, truth, caption) = crate::scene_image(7, Split::Train, 10 + i as u64, 64);
            assert_eq!((truth, caption), (json.scene, json.caption));
            let decoded = image::load_from_memory(&sample[0].1)?.into_rgb8();
            let error: f64 = decoded.iter().zip(&pixels).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
            assert!(error / (pixels.len() as f64) < 8.0, "the JPEG shows the scene");
        }
        let first = String::from_utf8(members[1].1.clone())?;
        assert!(first.starts_with("{\n    \"caption\": "), "{first}");
        Ok(())
    }

    #[test]
    fn the_same_seed_writes_the_same_bytes() -> Outcome<()> {
        let root = tempfile::tempdir()?;
        let (a, b, c) = (root.path().join("a"), root.path().join("b"), root.path().join("c"));
        write_cc3m(&a, &small())?;
        rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| write_cc3m(&b, &small()))?;
        write_cc3m(&c, &SynthOptions { seed: 8, ..small() })?;
        assert!(contents(&a)? == contents(&b)?, "one thread and many write the same");
        assert!(contents(&a)?["cc3m-train-0000.tar"] != contents(&c)?["cc3m-train-0000.tar"]);
        Ok(())
    }

    #[test]
    fn train_never_shows_what_validation_holds_out() {
        let held_out =
            |split, count| (0..count).filter(|&index| crate::scene_image(1, split, index, 32).1.is_held_out()).count();
        assert_eq!(held_out(Split::Train, 3_000), 0);
        let share = held_out(Split::Validation, 1_000);
        assert!((190..280).contains(&share), "{share} of 1000 validation scenes");
    }

    #[test]
    fn making_it_twice_is_no_work_and_other_options_are_refused() -> Outcome<()> {
        let root = tempfile::tempdir()?;
        let out = root.path().join("set");
        fs::create_dir(&out)?;
        let first = write_cc3m(&out, &small())?;
        let again = write_cc3m(&out, &small())?;
        assert_eq!(again, SynthReport { created: false, ..first });
        let error = write_cc3m(&out, &SynthOptions { seed: 8, ..small() }).expect_err("another seed");
        assert!(error.to_string().contains("seed is 7, asked for 8"), "{error}");
        assert!(error.hint().is_some());
        fs::remove_file(out.join("cc3m-train-0001.tar"))?;
        let error = write_cc3m(&out, &small()).expect_err("a shard is missing");
        assert!(error.to_string().contains("`cc3m-train-0001.tar` is gone"), "{error}");
        Ok(())
    }

    #[test]
    fn a_stop_is_heeded_within_a_few_samples_and_leaves_nothing_behind() -> Outcome<()> {
        let root = tempfile::tempdir()?;
        let out = root.path().join("set");
        // In the first shard, in the last one, and after the last sample.
        for asked in [3, 30, 31] {
            let count = AtomicUsize::new(0);
            let stop = || count.fetch_add(1, Ordering::SeqCst) >= asked;
            let error = write_cc3m_until(&stop, &out, &small()).expect_err("stopped");
            assert!(matches!(&error, SynthError::Stopped { path } if *path == out), "{error}");
            assert!(count.into_inner() <= asked + 2 * rayon::current_num_threads(), "asked no further");
            assert_eq!(fs::read_dir(root.path())?.count(), 0, "nothing is left after {asked} samples");
        }
        assert!(write_cc3m(&out, &small())?.created);
        Ok(())
    }

    #[test]
    fn foreign_directories_are_left_alone() -> Outcome<()> {
        let root = tempfile::tempdir()?;
        fs::write(root.path().join("thesis.tex"), "years of work")?;
        let error = write_cc3m(root.path(), &small()).expect_err("not ours");
        assert!(matches!(error, SynthError::NotOurs { .. }));
        assert_eq!(contents(root.path())?.len(), 1);
        Ok(())
    }
}
