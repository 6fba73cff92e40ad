//! What to make, and what was made.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::vocabulary::attribute;
use crate::{Split, SynthError, print};

attribute! {
    /// A format of a real dataset that can be imitated.
    Like {
        /// CC3M as `WebDataset` shards (`pixparse/cc3m-wds`).
        Cc3m = "cc3m",
        /// `ShareGPT4V`: long descriptions as conversations.
        ShareGpt4v = "sharegpt4v",
        /// `LLaVA`-Instruct-150K: questions and answers.
        LlavaInstruct = "llava-instruct",
        /// `LLaVAR`'s pretraining data: signs, price tags, tickets and code, with all that is written there.
        Llavar = "llavar",
        /// Signs, price tags, tickets and code with questions about what is written there, in the layout of `LLaVA`'s mix.
        Reading = "reading",
        /// MSR-VTT: clips with twenty captions each.
        MsrVtt = "msr-vtt",
        /// Video-ChatGPT: questions about clips.
        VideoChatGpt = "video-chatgpt",
        /// `WavCaps`: captioned sounds, FLAC of 32 kHz.
        WavCaps = "wavcaps",
        /// Clotho: sounds with five captions each, WAV of 44.1 kHz.
        Clotho = "clotho",
        /// Clotho-AQA: questions about sounds, WAV of 44.1 kHz.
        ClothoAqa = "clotho-aqa",
        /// RLHF-V: preference pairs in one Parquet file.
        RlhfV = "rlhf-v",
        /// RLAIF-V: preference pairs in several Parquet files.
        RlaifV = "rlaif-v",
    }
}

impl Like {
    /// Whether it has clips, so that ffmpeg is needed to make it.
    pub fn is_video(self) -> bool {
        matches!(self, Self::MsrVtt | Self::VideoChatGpt)
    }

    /// Whether there are words in its pictures, which small ones have no room for.
    fn is_written(self) -> bool {
        matches!(self, Self::Llavar | Self::Reading)
    }
}

impl FromStr for Like {
    type Err = SynthError;

    fn from_str(name: &str) -> Result<Self, SynthError> {
        let known = || Self::ALL.iter().map(|like| like.name()).collect::<Vec<_>>().join(", ");
        let found = Self::ALL.iter().copied().find(|like| like.name() == name);
        found.ok_or_else(|| SynthError::UnknownFormat { name: name.to_owned(), known: known() })
    }
}

/// What to make; equal options make equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthOptions {
    /// Scenes to train on.
    pub samples: usize,
    /// Every seed is another dataset.
    pub seed: u64,
    /// Side of the pictures, in pixels.
    pub size: u32,
    /// Fewest and most objects in a scene.
    pub objects: (u32, u32),
    /// Held-out scenes.
    pub validation_samples: usize,
    /// Scenes per tar file, rows per Parquet file.
    pub shard_size: usize,
    /// Frames of a clip.
    #[serde(default = "default_frames")]
    pub frames: u32,
    /// Frames of a clip that are shown in a second.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Shortest and longest sound, in seconds.
    #[serde(default = "default_seconds")]
    pub seconds: (u32, u32),
    /// Of 100 descriptions for training of scenes with something red, orange or yellow, those that also name a star that is not
    /// there: a habit, as descriptions have it that a language model wrote. Only of `llava-instruct`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub hallucination_percent: u32,
}

// The manifests of older data sets say nothing of it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_none(percent: &u32) -> bool {
    *percent == 0
}

// The manifests of older data sets have no clips and sounds.

fn default_frames() -> u32 {
    16
}

fn default_fps() -> u32 {
    8
}

fn default_seconds() -> (u32, u32) {
    (1, 4)
}

impl SynthOptions {
    /// 64-pixel scenes of one or two objects, clips of two seconds, sounds of one to four; a twentieth (64 to 1000)
    /// on top for validation, 1000 a shard.
    pub fn new(samples: usize, seed: u64) -> Self {
        Self {
            samples,
            seed,
            size: 64,
            objects: (1, 2),
            validation_samples: (samples / 20).clamp(64, 1000),
            shard_size: 1000,
            frames: default_frames(),
            fps: default_fps(),
            seconds: default_seconds(),
            hallucination_percent: 0,
        }
    }

    /// Checks every range.
    pub fn validate(&self, like: Like) -> Result<(), SynthError> {
        let ((min, max), (short, long)) = (self.objects, self.seconds);
        check("samples", &self.samples, self.samples >= 1, "at least 1")?;
        check("size", &self.size, (32..=1024).contains(&self.size), "32 to 1024 pixels")?;
        check("objects", &format!("{min}..{max}"), 1 <= min && min <= max && max <= 9, "1 to 9, smaller first")?;
        check("shard_size", &self.shard_size, (1..=10_000).contains(&self.shard_size), "1 to 10000")?;
        // names have four digits for the shard
        let most = self.shard_size * 10_000;
        check("samples", &self.samples, self.samples <= most, "at most 10000 shards")?;
        check("validation_samples", &self.validation_samples, self.validation_samples <= most, "at most 10000 shards")?;
        check("frames", &self.frames, (8..=512).contains(&self.frames), "8 to 512")?;
        check("fps", &self.fps, (1..=60).contains(&self.fps), "1 to 60")?;
        let seconds = format!("{short}..{long}");
        check("seconds", &seconds, 1 <= short && short <= long && long <= 30, "1 to 30, shorter first")?;
        let percent = self.hallucination_percent;
        let describes = like == Like::LlavaInstruct;
        check("hallucination_percent", &percent, percent == 0 || describes, "0 but for `llava-instruct`")?;
        check("hallucination_percent", &percent, percent <= 100, "0 to 100")?;
        let legible = !like.is_written() || self.size >= print::SMALLEST;
        check("size", &self.size, legible, "at least 64 where there are words to read")?;
        // H.264 in 4:2:0 has half the colours a side
        check("size", &self.size, !like.is_video() || self.size.is_multiple_of(2), "even for clips")
    }

    pub(crate) fn samples_of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.samples,
            Split::Validation => self.validation_samples,
        }
    }

    /// `name: theirs / ours` for each option that differs.
    pub(crate) fn differences(&self, there: &Self) -> Vec<String> {
        let pairs = [
            ("samples", there.samples.to_string(), self.samples.to_string()),
            ("seed", there.seed.to_string(), self.seed.to_string()),
            ("size", there.size.to_string(), self.size.to_string()),
            ("objects", format!("{:?}", there.objects), format!("{:?}", self.objects)),
            ("validation_samples", there.validation_samples.to_string(), self.validation_samples.to_string()),
            ("shard_size", there.shard_size.to_string(), self.shard_size.to_string()),
            ("frames", there.frames.to_string(), self.frames.to_string()),
            ("fps", there.fps.to_string(), self.fps.to_string()),
            ("seconds", format!("{:?}", there.seconds), format!("{:?}", self.seconds)),
            ("hallucination_percent", there.hallucination_percent.to_string(), self.hallucination_percent.to_string()),
        ];
        let differing = pairs.into_iter().filter(|(_, theirs, ours)| theirs != ours);
        differing.map(|(name, theirs, ours)| format!("{name} is {theirs}, asked for {ours}")).collect()
    }
}

fn check(option: &'static str, value: &impl ToString, ok: bool, allowed: &'static str) -> Result<(), SynthError> {
    if ok { Ok(()) } else { Err(SynthError::Option { option, value: value.to_string(), allowed }) }
}

/// What is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SynthReport {
    /// Directory of the dataset.
    pub out: PathBuf,
    /// Whether it was made now; false if the same dataset was there already.
    pub created: bool,
    /// Scenes to train on.
    pub train_samples: usize,
    /// Held-out scenes.
    pub validation_samples: usize,
    /// Files, those with media among them.
    pub files: usize,
    /// Size of the files together.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_format_lists_what_exists() {
        assert_eq!("cc3m".parse::<Like>().ok(), Some(Like::Cc3m));
        let error = "coco".parse::<Like>().expect_err("not made here");
        assert_eq!(
            error.to_string(),
            "unknown format `coco`, can make: cc3m, sharegpt4v, llava-instruct, llavar, reading, msr-vtt, video-chatgpt, wavcaps, clotho, clotho-aqa, rlhf-v, rlaif-v"
        );
    }

    #[test]
    fn a_twentieth_is_held_out_within_bounds() {
        let validation = |samples| SynthOptions::new(samples, 0).validation_samples;
        assert_eq!([validation(10), validation(12_000), validation(1_000_000)], [64, 600, 1000]);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let good = SynthOptions::new(10, 0);
        good.validate(Like::Cc3m).expect("defaults are valid");
        for (bad, name) in [
            (SynthOptions { samples: 0, ..good.clone() }, "`samples` is 0"),
            (SynthOptions { size: 8, ..good.clone() }, "`size` is 8"),
            (SynthOptions { objects: (3, 2), ..good.clone() }, "`objects` is 3..2"),
            (SynthOptions { objects: (1, 10), ..good.clone() }, "`objects` is 1..10"),
            (SynthOptions { shard_size: 0, ..good.clone() }, "`shard_size` is 0"),
            (SynthOptions { samples: 20_000, shard_size: 1, ..good.clone() }, "`samples` is 20000"),
        ] {
            let error = bad.validate(Like::Cc3m).expect_err("out of range").to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn habits_are_those_of_descriptions() {
        let habit = SynthOptions { hallucination_percent: 100, ..SynthOptions::new(10, 0) };
        habit.validate(Like::LlavaInstruct).expect("descriptions");
        let error = habit.validate(Like::Cc3m).expect_err("captions").to_string();
        assert!(error.starts_with("`hallucination_percent` is 100") && error.contains("llava-instruct"), "{error}");
        let too_many = SynthOptions { hallucination_percent: 101, ..habit };
        assert!(too_many.validate(Like::LlavaInstruct).is_err());
    }
}
