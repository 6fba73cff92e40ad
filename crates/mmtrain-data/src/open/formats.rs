//! Each format put together from its files, the shape of its rows and the places of its media.

use std::path::Path;
use std::sync::Arc;

use mmtrain_text::MediaKind;

use super::Format;
use super::files::{Files, has_extension, open_rows, small_json};
use super::opening::Opening;
use crate::cell::Cell;
use crate::format::llama_factory::LlamaFactory;
use crate::format::meta_file::{self, MetaEntry};
use crate::format::selected::Selected;
use crate::format::{
    Shape, cc3m, clotho, clotho_aqa, coco, dataset_info, llava, llava_pairs, messages, ms_swift, msr_vtt, preference,
    qwen_vl, scored, video_chatgpt, wavcaps,
};
use crate::rows::{Chained, Delimited, Dialect, Json, Rows, first_readable};
use crate::source::{Source, WebDataset};
use crate::store::{MediaRoots, MediaStore};
use crate::{DataError, OpenOptions, Place, Table, reading};

impl Opening<'_> {
    /// Puts the dataset together.
    pub(super) fn open(&self, format: Format) -> Result<Arc<dyn Source>, DataError> {
        let &OpenOptions { placeholder, captions, .. } = self.options;
        match format {
            Format::WebDataset => self.shards(),
            Format::Cc3mTsv => self.cc3m_tsv(),
            Format::Llava | Format::Sharegpt4v => {
                let files = self.one(&self.rows_files())?;
                self.table(files.rows(&[])?, llava::Llava { placeholder }, &files)
            }
            Format::LlavaVideo => self.plain(&self.rows_files(), llava::Llava { placeholder }),
            Format::Coco => self.coco(),
            Format::MsrVtt => self.msr_vtt(),
            Format::VideoChatgpt => {
                let files = self.one(&self.rows_files())?;
                let rows = Box::new(video_chatgpt::Numbered(files.rows(&[])?));
                self.table(rows, video_chatgpt::VideoChatGpt { placeholder }, &files)
            }
            Format::Wavcaps => self.wavcaps(),
            Format::Clotho => {
                let files = self.some(&self.split(&self.files.named(|name| name.starts_with("clotho_captions"))))?;
                self.table(self.with_truth(files.rows(&[])?, "file_name")?, clotho::clotho(captions), &files)
            }
            Format::ClothoAqa => {
                let files = self.some(&self.rows_files().named(|name| name != "clotho_aqa_metadata.csv"))?;
                self.table(self.with_truth(files.rows(&[])?, "file_name")?, clotho_aqa::ClothoAqa, &files)
            }
            Format::RlhfV | Format::RlaifV | Format::Preference => {
                let files = self.some(&self.rows_files().named(|name| !name.contains("withlogp")))?;
                let rows = self.with_truth(files.rows(&[])?, "idx")?;
                self.table(rows, preference::Preference { placeholder }, &files)
            }
            Format::Vlfeedback => self.plain(&self.rows_files(), scored::Scored { placeholder }),
            Format::Povid => self.plain(&self.rows_files(), llava_pairs::LlavaPairs { placeholder }),
            Format::Mmpr => self.meta(),
            Format::Messages => self.plain(&self.rows_files(), messages::Messages { placeholder }),
            Format::LlamaFactory => self.llama_factory(),
            Format::MsSwift => self.plain(&self.rows_files(), ms_swift::MsSwift { placeholder }),
            Format::QwenVl => self.plain(&self.rows_files(), qwen_vl::QwenVl),
            Format::ImageFolder => self.image_folder(),
        }
    }

    fn shards(&self) -> Result<Arc<dyn Source>, DataError> {
        let (dir, remote) = (self.files.dir.to_string(), &self.options.remote);
        Ok(Arc::new(WebDataset::open_with(self.name.clone(), &dir, self.options.split.as_deref(), remote)?))
    }

    /// Where no column names the pictures, they are called by their rows, and so belong to one file.
    fn cc3m_tsv(&self) -> Result<Arc<dyn Source>, DataError> {
        let files = self.some(&self.split(&self.files.named(|name| has_extension(name, "tsv"))))?;
        let tables = files.places().iter().map(|place| self.tsv(place)).collect::<Result<Vec<_>, _>>()?;
        let names_files =
            |table: &Delimited| table.columns().iter().any(|column| cc3m::FILES.contains(&column.as_str()));
        if tables.iter().all(names_files) {
            let rows = Chained::new(tables.into_iter().map(|table| Box::new(table) as Box<dyn Rows>).collect());
            return self.table(Box::new(rows), cc3m::cc3m_tsv(None), &files);
        }
        let files = self.one(&files)?;
        let rows = Chained::new(
            files.places().iter().map(|place| Ok(Box::new(self.tsv(place)?) as _)).collect::<Result<_, DataError>>()?,
        );
        let rows = video_chatgpt::Numbered(Box::new(rows));
        let media = self.media(&files)?;
        let naming = cc3m::Naming::seen(&rows, media.as_ref());
        let behind = cc3m::Naming::plain(rows.len() as i64);
        if naming == Some(cc3m::Naming::Plain) && media.open(&behind, MediaKind::Image).is_ok() {
            let detail = format!(
                "has {} rows, numbered from 0, and there is a picture `{behind}`: a column has to name the files",
                rows.len()
            );
            return Err(DataError::Rows { path: files.places()[0].path().to_path_buf(), detail });
        }
        Ok(Arc::new(Table::new(self.name.clone(), Box::new(rows), Box::new(cc3m::cc3m_tsv(naming)), media)?))
    }

    /// A table of the columns that were named, or that its first line names; else of captions, addresses and, if there is a
    /// third value, files.
    fn tsv(&self, place: &Place) -> Result<Delimited, DataError> {
        let columns: Vec<&str> = self.options.columns.iter().map(String::as_str).collect();
        if !columns.is_empty() {
            return Delimited::open(place, Dialect::tsv(&columns));
        }
        let head = reading::head(place.open_file()?.as_ref(), 64 << 10)?;
        let line = String::from_utf8_lossy(head.split(|&byte| byte == b'\n').next().unwrap_or_default()).into_owned();
        let values: Vec<&str> = line.trim_end().split('\t').collect();
        let columns: &[&str] = match values.len() {
            _ if values.contains(&"caption") && values.contains(&"url") => &[],
            3 => &["caption", "url", "file"],
            _ => &["caption", "url"],
        };
        Delimited::open(place, Dialect::tsv(columns))
    }

    fn coco(&self) -> Result<Arc<dyn Source>, DataError> {
        let captions =
            self.rows_files().named(|name| !name.starts_with("instances_") && !name.starts_with("person_keypoints_"));
        let files = self.one(&captions)?;
        let mut parts: Vec<Arc<dyn Source>> = Vec::new();
        for place in files.places() {
            parts.push(if Json::keys(&place)?.iter().any(|key| key == "annotations") {
                let shape = coco::annotations(&Json::array(&place, &["images"])?);
                self.table(Box::new(Json::array(&place, &["annotations"])?), shape, &files)?
            } else {
                self.table(open_rows(&place, &[])?, coco::karpathy(self.options.captions), &files)?
            });
        }
        Ok(self.joined(parts))
    }

    /// The official files, which have all splits in them, or tables with a file for each split.
    fn msr_vtt(&self) -> Result<Arc<dyn Source>, DataError> {
        let lists = self.files.named(|name| name.starts_with("MSRVTT_") && has_extension(name, "csv"));
        let only = match (self.options.annotations.is_empty(), lists.names.is_empty()) {
            (false, false) => Some(msr_vtt::listed(lists.rows(&[])?.as_ref())),
            _ => None,
        };
        let choice = msr_vtt::Choice { split: self.options.split.clone(), only, captions: self.options.captions };
        let official = self.files.named(|name| has_extension(name, "json"));
        let (files, rows) = if official.names.is_empty() {
            let files = self.some(&self.split(&self.rows_files().named(|name| !has_extension(name, "csv"))))?;
            let choice = msr_vtt::Choice { split: None, ..choice };
            let rows = msr_vtt::select(files.rows(&[])?, None, &choice);
            (files, rows)
        } else {
            let videos = official.rows(&["videos"])?;
            let rows = msr_vtt::select(official.rows(&["sentences"])?, Some(videos.as_ref()), &choice);
            (official, rows)
        };
        self.table(Box::new(rows), msr_vtt::msr_vtt(), &files)
    }

    /// Sounds of different parts have the same numbers, so each part has its own places.
    fn wavcaps(&self) -> Result<Arc<dyn Source>, DataError> {
        let files = self.files.named(|name| !name.starts_with("blacklist") && !name.ends_with("_final_2s.json"));
        let files = self.some(&self.split(&files))?;
        let lists = self.options.exclude.iter().map(|list| small_json(&self.below(list)?));
        let lists = lists.collect::<Result<Vec<Cell>, _>>()?;
        let mut parts = Vec::new();
        for name in &files.names {
            let file = Files { dir: files.dir.clone(), names: vec![name.clone()] };
            let rows = wavcaps::without(file.rows(&["data"])?, &lists);
            if rows.is_empty() {
                continue;
            }
            let shape = wavcaps::wavcaps(self.options.captions);
            let media = self.part_media(name, &file)?;
            let table = Table::new(self.name.clone(), Box::new(rows), Box::new(shape), media)?;
            parts.push(Arc::new(table) as Arc<dyn Source>);
        }
        if parts.is_empty() {
            return Err(DataError::NoSamples { name: self.name.clone(), problems: Vec::new() });
        }
        Ok(self.joined(parts))
    }

    /// The places of a part of `WavCaps`, which is called as the directory of its rows.
    fn part_media(&self, name: &str, file: &Files) -> Result<Arc<dyn MediaStore>, DataError> {
        let part = name.rsplit('/').nth(1).unwrap_or_default();
        let tops: Vec<Place> = if self.options.media.is_empty() {
            ["audio", "waveforms", "Zip_files", ""].iter().map(|top| self.files.dir.join(Path::new(top))).collect()
        } else {
            self.options.media.iter().map(|place| self.below(place)).collect::<Result<_, _>>()?
        };
        let mut own = Vec::new();
        for top in tops.iter().filter(|top| !part.is_empty() && top.can_list()) {
            // Unpacked, some archives have a directory of their own: `AudioSet_SL/AudioSet_SL_flac/`.
            let place = top.join(Path::new(part));
            for place in [place.join(Path::new(&format!("{part}_flac"))), place] {
                if place.is_dir()? {
                    own.push(place);
                }
            }
        }
        if own.is_empty() {
            return self.media(file);
        }
        Ok(Arc::new(MediaRoots::beside(own, self.options.path_map.clone())?))
    }

    /// Each entry of MMPR's and `InternVL`'s `meta.json` has its own file, directory and share; rows are pairs or conversations.
    fn meta(&self) -> Result<Arc<dyn Source>, DataError> {
        let meta = self.one(&self.files.named(|name| name.ends_with("meta.json")))?;
        let mut parts = Vec::new();
        for place in meta.places() {
            let refuse = |detail| DataError::Rows { path: place.path().to_path_buf(), detail };
            for entry in meta_file::entries(&small_json(&place)?).map_err(refuse)? {
                parts.push(self.meta_entry(&entry)?);
            }
        }
        Ok(self.joined(parts))
    }

    fn meta_entry(&self, entry: &MetaEntry) -> Result<Arc<dyn Source>, DataError> {
        let rows = open_rows(&self.below_repository(Path::new(&entry.annotation))?, &[])?;
        let first = first_readable(rows.as_ref())?.unwrap_or_default();
        let rows = self.reworded(Box::new(Selected::repeat(rows, entry.repeat_time)));
        let placeholder = self.options.placeholder;
        let shape: Box<dyn Shape> = if first.get("conversations").is_null() {
            Box::new(preference::Preference { placeholder })
        } else {
            Box::new(llava::Llava { placeholder })
        };
        let media = MediaRoots::open([self.below_repository(Path::new(&entry.root))?], self.options.path_map.clone())?;
        Ok(Arc::new(Table::new(self.name.clone(), rows, shape, Arc::new(media))?))
    }

    /// The entry that is called as the source, or the only one with a file.
    fn llama_factory(&self) -> Result<Arc<dyn Source>, DataError> {
        let place = self.files.dir.join(Path::new("dataset_info.json"));
        let info = small_json(&place)?;
        let is_named = info.fields().iter().any(|(name, _)| *name == self.name);
        let refuse = |detail| DataError::Rows { path: place.path().to_path_buf(), detail };
        let entry = dataset_info::entry(&info, is_named.then_some(self.name.as_str())).map_err(refuse)?;
        let files = Files { dir: self.files.dir.clone(), names: vec![entry.file.clone()] };
        let rows = files.rows(&[])?;
        let used = entry.num_samples.map_or(rows.len(), |most| most.min(rows.len()));
        let rows = Box::new(Selected::new(rows, (0..used as u32).collect()));
        self.table(rows, LlamaFactory::new(entry, self.options.placeholder), &files)
    }
}
