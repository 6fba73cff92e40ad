//! `WebDataset` shards in the layout of CC3M (`pixparse/cc3m-wds`, written by img2dataset).
//!
//! `cc3m-train-0000.tar`, ... and `cc3m-validation-0000.tar`, ... of plain USTAR; per sample the members
//! `000000000.jpg`, `.json`, `.txt` in this order, keys restarting in every shard as in the real set.
//! The json has img2dataset's keys plus `scene`, the truth.

use serde::Serialize;

use crate::dataset::pretty;
use crate::output::Output;
use crate::picture::Picture;
use crate::{SceneTruth, Split, SynthError};

/// A fixed time stamp (2022-01-01), so that equal content makes equal files.
const MTIME: u64 = 1_640_995_200;

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

/// Writes all shards.
pub(crate) fn write(output: &Output<'_>) -> Result<(), SynthError> {
    for split in Split::ALL {
        let starts = (0..output.options.samples_of(split)).step_by(output.options.shard_size);
        for (number, start) in starts.enumerate() {
            write_shard(output, split, number, start)?;
        }
    }
    Ok(())
}

/// Writes the tar file of the samples from `start` on.
fn write_shard(output: &Output<'_>, split: Split, number: usize, start: usize) -> Result<(), SynthError> {
    let end = (start + output.options.shard_size).min(output.options.samples_of(split));
    let file = output.create(&format!("cc3m-{}-{number:04}.tar", split.name()))?;
    let mut archive = tar::Builder::new(file);
    let mut keys = (0..).map(key);
    output.in_order(
        start..end,
        |index| make_sample(output, split, index, index - start),
        |sample| {
            let key = keys.next().unwrap_or_default();
            append(&mut archive, &format!("{key}.jpg"), &sample.jpg)?;
            append(&mut archive, &format!("{key}.json"), &sample.json)?;
            append(&mut archive, &format!("{key}.txt"), sample.txt.as_bytes())
        },
    )?;
    output.finish(archive.into_inner()?)
}

/// Nine digits, counted within the shard.
fn key(index_in_shard: usize) -> String {
    format!("{index_in_shard:09}")
}

fn make_sample(output: &Output<'_>, split: Split, index: usize, in_shard: usize) -> Result<Sample, SynthError> {
    let size = output.options.size;
    let picture = Picture::make(&output.key(split, index), size)?;
    let json = pretty(&SampleJson {
        caption: &picture.caption,
        url: format!("http://example.org/synth/{}/{}/{index}.jpg", output.options.seed, split.name()),
        key: &key(in_shard),
        status: "success",
        error_message: None,
        width: size,
        height: size,
        exif: "{}",
        original_width: size,
        original_height: size,
        scene: &picture.truth,
    })?;
    Ok(Sample { jpg: picture.jpg, json, txt: picture.caption })
}

/// A read-only regular file of `bigdata`, as the webdataset writer makes them.
fn append(archive: &mut tar::Builder<impl std::io::Write>, name: &str, bytes: &[u8]) -> Result<(), SynthError> {
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
