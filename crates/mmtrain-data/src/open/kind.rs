//! The formats by name.

use std::fmt;
use std::str::FromStr;

/// How the files of a dataset are laid out and what their rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Tar shards whose members share a key.
    WebDataset,
    /// CC3M's list of captions and addresses.
    Cc3mTsv,
    /// Rows of `conversations`: `LLaVA`'s files and those like them.
    Llava,
    /// `LLaVA`'s rows with the directories of `ShareGPT4V`.
    Sharegpt4v,
    /// COCO's captions, in the files of COCO or in Karpathy's.
    Coco,
    /// MSR-VTT, in its own file or as tables.
    MsrVtt,
    /// Questions and answers of Video-ChatGPT.
    VideoChatgpt,
    /// `LLaVA`'s rows with clips.
    LlavaVideo,
    /// `WavCaps`.
    Wavcaps,
    /// Clotho.
    Clotho,
    /// Questions and answers of Clotho-AQA.
    ClothoAqa,
    /// RLHF-V.
    RlhfV,
    /// RLAIF-V.
    RlaifV,
    /// `VLFeedback`, and other answers with scores.
    Vlfeedback,
    /// POVID, and other pairs in `LLaVA`'s spelling.
    Povid,
    /// MMPR's `meta.json`.
    Mmpr,
    /// Pairs, or judged answers, as TRL has them.
    Preference,
    /// Conversations of `messages`.
    Messages,
    /// LLaMA-Factory's `dataset_info.json`.
    LlamaFactory,
    /// Rows as `ms-swift` has them.
    MsSwift,
    /// `Qwen-VL`'s conversations, whose text names its pictures.
    QwenVl,
    /// Files beside a `metadata.csv`, `.jsonl` or `.parquet`, or in directories that are called as what is in them.
    ImageFolder,
}

/// All of them, with their names in configurations.
const NAMES: [(Format, &str); 22] = [
    (Format::WebDataset, "webdataset"),
    (Format::Cc3mTsv, "cc3m_tsv"),
    (Format::Llava, "llava"),
    (Format::Sharegpt4v, "sharegpt4v"),
    (Format::Coco, "coco"),
    (Format::MsrVtt, "msr_vtt"),
    (Format::VideoChatgpt, "video_chatgpt"),
    (Format::LlavaVideo, "llava_video"),
    (Format::Wavcaps, "wavcaps"),
    (Format::Clotho, "clotho"),
    (Format::ClothoAqa, "clotho_aqa"),
    (Format::RlhfV, "rlhf_v"),
    (Format::RlaifV, "rlaif_v"),
    (Format::Vlfeedback, "vlfeedback"),
    (Format::Povid, "povid"),
    (Format::Mmpr, "mmpr"),
    (Format::Preference, "preference"),
    (Format::Messages, "messages"),
    (Format::LlamaFactory, "llama_factory"),
    (Format::MsSwift, "ms_swift"),
    (Format::QwenVl, "qwen_vl"),
    (Format::ImageFolder, "image_folder"),
];

impl Format {
    /// All formats.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(format, _)| format)
    }

    /// The name, as configurations have it.
    pub fn name(self) -> &'static str {
        NAMES.into_iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no format has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no data format is called `{0}`")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let spelled = name.replace('-', "_");
        let found = NAMES.into_iter().find(|(_, known)| *known == spelled);
        found.map(|(format, _)| format).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_its_format() {
        for format in Format::all() {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("msr-vtt".parse(), Ok(Format::MsrVtt));
        assert_eq!("msrvtt".parse::<Format>(), Err(UnknownFormat("msrvtt".into())));
    }
}
