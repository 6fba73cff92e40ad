//! Which format a dataset has, by the names of its files and by its first rows.

use std::path::Path;

use super::Format;
use super::files::{Files, base, is_side_file, open_rows};
use super::folder::class_folder;
use crate::cell::Cell;
use crate::remote::is_remote;
use crate::rows::Json;
use crate::{DataError, Place};

/// Names that an error lists.
const MAX_LISTED: usize = 8;
/// Files that are looked into; they have to agree.
const MAX_LOOKED: usize = 4;
/// Rows of each that are looked at.
const MAX_ROWS: usize = 16;

/// A format, and what spoke for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The format.
    pub format: Format,
    /// What was seen.
    pub seen: String,
}

/// The format of the dataset at a place: a directory, a file, or a pattern of tar shards.
pub fn detect(place: impl Into<Place>) -> Result<Detected, DataError> {
    let place = place.into();
    let path = place.path();
    let shown = path.to_string_lossy();
    if shown.contains("::") || shown.contains('{') && (is_remote(path) || !path.exists()) {
        return Ok(Detected { format: Format::WebDataset, seen: "a pattern of shards".into() });
    }
    let files = Files::at(&place)?;
    let named: Vec<_> = files.names.iter().filter_map(|name| Some((by_name(name)?, name))).collect();
    // Tar files may be media beside rows.
    let of_rows = named.iter().find(|(format, _)| *format != Format::WebDataset);
    if let Some(&(format, name)) = of_rows.or(named.first()) {
        return Ok(Detected { format, seen: format!("`{name}`") });
    }
    if files.names.is_empty() {
        if let Some(seen) = class_folder(&place)? {
            return Ok(Detected { format: Format::ImageFolder, seen });
        }
        return Err(unknown(
            path,
            "no file that may hold rows (`.tar`, `.json`, `.jsonl`, `.csv`, `.tsv`, `.parquet`, `.arrow`), and no two \
             directories of pictures that are called as what is in them",
        ));
    }
    by_content(path, &files)
}

/// By names that only one dataset has, or that its tools always use.
fn by_name(name: &str) -> Option<Format> {
    let file = base(name);
    let (begins, ends) = (|with: &str| file.starts_with(with), |with: &str| file.ends_with(with));
    Some(match file {
        _ if ends(".tar") && !name.contains('/') => Format::WebDataset,
        _ if ends("videodatainfo.json") || file == "MSRVTT_data.json" => Format::MsrVtt,
        _ if begins("VideoInstruct") && ends(".json") => Format::VideoChatgpt,
        _ if begins("clotho_captions_") && ends(".csv") => Format::Clotho,
        _ if begins("clotho_aqa_") && ends(".csv") => Format::ClothoAqa,
        _ if begins("captions_") && ends(".json") || begins("coco_karpathy_") && ends(".json") => Format::Coco,
        _ if file.contains("GCC") && ends(".tsv") => Format::Cc3mTsv,
        _ if begins("RLHF-V") && ends(".parquet") => Format::RlhfV,
        _ if begins("RLAIF-V") && ends(".parquet") => Format::RlaifV,
        "metadata.csv" | "metadata.jsonl" | "metadata.parquet" => Format::ImageFolder,
        "dataset_info.json" => Format::LlamaFactory,
        _ if name.starts_with("json_files/") && file.contains("_final") => Format::Wavcaps,
        _ => return None,
    })
}

/// By the first rows of the first files, which have to agree.
fn by_content(path: &Path, files: &Files) -> Result<Detected, DataError> {
    // A list of files speaks for them.
    for name in files.named(|name| name == "meta.json").names {
        if let (Some(format), seen) = look_into(&files.dir.join(Path::new(&name)), &name) {
            return Ok(Detected { format, seen });
        }
    }
    let mut seen = Vec::new();
    for name in files.named(|name| !is_side_file(name)).names.iter().take(MAX_LOOKED) {
        let (format, what) = look_into(&files.dir.join(Path::new(name)), name);
        seen.push((format, what));
    }
    let formats: Vec<Format> = seen.iter().filter_map(|(format, _)| *format).collect();
    let all = || seen.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("; ");
    match formats.first() {
        Some(&format) if formats.iter().all(|other| *other == format) => {
            let what = seen.iter().find(|(found, _)| *found == Some(format)).map(|(_, what)| what.clone());
            Ok(Detected { format, seen: what.unwrap_or_default() })
        }
        Some(_) => Err(unknown(path, &format!("files of several formats: {}", all()))),
        None => Err(unknown(path, &all())),
    }
}

/// The format of one file, and what was seen in it.
fn look_into(place: &Place, name: &str) -> (Option<Format>, String) {
    if let Some(format) = by_frame(place) {
        return (Some(format), format!("the frame of `{name}`"));
    }
    let read: Vec<_> = match open_rows(place, &[]) {
        Ok(rows) => (0..rows.len().min(MAX_ROWS)).map(|index| rows.row(index)).collect(),
        Err(error) => return (None, error.to_string()),
    };
    let fault =
        read.iter().find_map(|row| row.as_ref().err()).map(|fault| format!(": {}", fault.detail)).unwrap_or_default();
    let rows: Vec<Cell> = read.into_iter().filter_map(Result::ok).collect();
    // Of rows of `messages` some later one may have what only ms-swift has.
    let swift = rows.iter().find(|row| by_row(row) == Some(Format::MsSwift));
    let Some(row) = swift.or(rows.first()) else {
        return (None, format!("`{name}` without a row that can be read{fault}"));
    };
    let keys: Vec<&str> = row.fields().iter().map(|(key, _)| key.as_str()).take(MAX_LISTED).collect();
    (by_row(row), format!("rows of `{}` in `{name}`", keys.join("`, `")))
}

/// By the keys around the rows.
fn by_frame(place: &Place) -> Option<Format> {
    if place.path().extension().is_none_or(|ext| ext != "json") {
        return None;
    }
    let keys = Json::keys(place).ok()?;
    let has = |wanted: [&str; 2]| wanted.iter().all(|wanted| keys.iter().any(|key| key == wanted));
    let frames = [
        (["videos", "sentences"], Format::MsrVtt),
        (["images", "annotations"], Format::Coco),
        (["num_captions_per_audio", "data"], Format::Wavcaps),
    ];
    if let Some((_, format)) = frames.into_iter().find(|(wanted, _)| has(*wanted)) {
        return Some(format);
    }
    let whole = super::files::small_json(place).ok()?;
    let (_, entry) = whole.fields().first()?;
    let is_meta = entry.get("annotation").as_str().is_some() && entry.get("root").as_str().is_some();
    is_meta.then_some(Format::Mmpr)
}

/// By the keys of a row.
fn by_row(row: &Cell) -> Option<Format> {
    let has = |keys: &[&str]| keys.iter().all(|&key| row.fields().iter().any(|(name, _)| name == key));
    let any = |keys: &[&str]| keys.iter().any(|&key| has(&[key]));
    let is_json = row.get("text").as_str().is_some_and(|text| text.trim_start().starts_with('{'));
    Some(match () {
        () if has(&["conversations"]) && any(&["rejected_conversations", "output_1"]) => Format::Povid,
        () if has(&["conversations"]) && any(&["chosen", "rejected", "kto_tag", "tools"]) => return None,
        () if has(&["conversations", "video"]) => Format::LlavaVideo,
        () if has(&["conversations"]) && names_pictures(row) => Format::QwenVl,
        () if has(&["conversations"]) => Format::Llava,
        () if has(&["q", "a", "video_id"]) => Format::VideoChatgpt,
        () if has(&["ds_name", "text", "image"]) && is_json => Format::RlhfV,
        () if has(&["ds_name", "question", "chosen", "rejected"]) => Format::RlaifV,
        () if has(&["completions"]) && any(&["prompt", "models"]) => Format::Vlfeedback,
        () if any(&["rejected_response", "rejected_messages", "objects", "query", "channel"]) => Format::MsSwift,
        () if has(&["chosen", "rejected"]) && any(&["instruction"]) => return None,
        () if has(&["chosen", "rejected"]) || has(&["completion", "label"]) => Format::Preference,
        () if has(&["messages"]) || has(&["prompt", "completion"]) => Format::Messages,
        () if has(&["file_name", "caption_1"]) => Format::Clotho,
        () if has(&["file_name", "QuestionText", "answer"]) => Format::ClothoAqa,
        () if any(&["file_name", "image_file_name", "video_file_name", "audio_file_name"]) => Format::ImageFolder,
        () if has(&["video_id", "caption"]) => Format::MsrVtt,
        () if holds_medium(row) && any(&["caption", "captions", "text", "sentence", "sentences"]) => {
            Format::ImageFolder
        }
        () if has(&["image", "caption"]) => Format::Coco,
        () => return None,
    })
}

/// Whether a row has a medium with its bytes, as `datasets` has media.
fn holds_medium(row: &Cell) -> bool {
    matches!(row.get_any(&["image", "video", "audio"]), Cell::Bytes(_) | Cell::Struct(_))
}

/// Whether the first turn names its pictures in its text.
fn names_pictures(row: &Cell) -> bool {
    let said = row.get("conversations").items().first().map(|turn| turn.get_any(&["value", "content"]));
    said.and_then(Cell::as_str)
        .is_some_and(|text| text.contains("<img>") || text.contains("<audio>") && text.contains("</audio>"))
}

fn unknown(path: &Path, seen: &str) -> DataError {
    DataError::UnknownFormat { path: path.to_path_buf(), seen: seen.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name)
    }

    #[test]
    fn every_fixture_is_known_for_what_it_is() {
        let expected = [
            ("cc3m_tsv", Format::Cc3mTsv),
            ("clotho", Format::Clotho),
            ("clotho_aqa", Format::ClothoAqa),
            ("coco", Format::Coco),
            ("coco_karpathy", Format::Coco),
            ("image_folder", Format::ImageFolder),
            ("llama_factory", Format::LlamaFactory),
            ("llava_cc3m", Format::Llava),
            ("llava_instruct", Format::Llava),
            ("llava_mix665k", Format::Llava),
            ("llava_pretrain", Format::Llava),
            ("llava_video", Format::LlavaVideo),
            ("messages", Format::Messages),
            ("messages_parquet", Format::Messages),
            ("mmpr", Format::Mmpr),
            ("ms_swift", Format::MsSwift),
            ("msr_vtt", Format::MsrVtt),
            ("msr_vtt_parquet", Format::MsrVtt),
            ("povid", Format::Povid),
            ("preference", Format::Preference),
            ("rlaif_v", Format::RlaifV),
            ("rlhf_v", Format::RlhfV),
            ("saved_to_disk", Format::ImageFolder),
            ("sharegpt4v", Format::Llava),
            ("video_chatgpt", Format::VideoChatgpt),
            ("vlfeedback", Format::Vlfeedback),
            ("wavcaps", Format::Wavcaps),
            ("wavcaps_5", Format::Wavcaps),
        ];
        for (name, format) in expected {
            let detected = detect(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(detected.format, format, "{name}: {}", detected.seen);
        }
    }

    #[test]
    fn what_is_not_known_says_what_was_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = detect(dir.path()).expect_err("nothing there").to_string();
        assert!(error.contains("no file that may hold rows"), "{error}");
        fs_err::write(dir.path().join("a.jsonl"), "{\"x\": 1, \"y\": 2}\n").expect("written");
        let error = detect(dir.path()).expect_err("unknown").to_string();
        assert!(error.ends_with("rows of `x`, `y` in `a.jsonl`"), "{error}");
        fs_err::write(dir.path().join("b.jsonl"), "{\"messages\": []}\n").expect("written");
        fs_err::write(dir.path().join("c.jsonl"), "{\"conversations\": []}\n").expect("written");
        let error = detect(dir.path()).expect_err("several");
        assert!(error.to_string().contains("files of several formats: "), "{error}");
        assert!(error.hint().expect("a hint").contains("msr_vtt"), "{error}");
    }
}
