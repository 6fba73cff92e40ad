//! Which frames of a video a model sees: the rules of published models, each a pure function of frame count and rate.
//!
//! Rounding decides frames, so it is spelled as the originals do: Python's, numpy's and torch's `round` send halves to
//! the even number, `linspace(..., dtype=int)` cuts off. In every pair of count and number tried, torch's float32 linspace
//! picks the frames that float64 does.

use crate::MediaError;

/// A rule that picks frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FrameSampling {
    /// `Qwen2-VL` (`qwen_vl_utils/vision_process.py`): evenly spread, first and last frame among them.
    Qwen2Vl(SmartFrames),
    /// Video-ChatGPT (`video_chatgpt/eval/model_utils.py`): the middles of `frames` segments, of fewer where the video has
    /// fewer frames.
    VideoChatGpt {
        /// At most.
        frames: u32,
    },
    /// `VideoLLaMA2` (`mm_utils.py`, `frame_sample` in mode `uniform`): the middles of `frames` segments.
    SegmentMiddles {
        /// Exactly so many; a short video repeats some.
        frames: u32,
    },
    /// `VideoLLaMA2`, mode `fps`: the middle of every segment of `rate / fps` frames, the first ones of them.
    SegmentsPerSecond {
        /// Frames per second (`NUM_FRAMES_PER_SECOND`).
        fps: f64,
        /// At most (`MAX_FRAMES`); what comes later is not seen.
        max_frames: u32,
    },
    /// Video-LLaVA: `numpy.linspace(0, total - 1, frames, dtype=int)`.
    Linspace {
        /// Exactly so many; a short video repeats some.
        frames: u32,
    },
    /// `LLaVA-Video` (`LLaVA-NeXT`'s `process_video_with_decord`): every so many frames, and
    /// [`Linspace`](Self::Linspace) where that gives more than `max_frames`.
    Step {
        /// Frames per second.
        fps: f64,
        /// At most; 0 for any number.
        max_frames: u32,
    },
    /// LLaMA-Factory (`mm_plugin.py`, `_get_video_sample_indices`): `floor(seconds * fps)` frames, at least one, evenly
    /// spread and cut off.
    LlamaFactory {
        /// Frames per second (`video_fps`).
        fps: f64,
        /// At most (`video_maxlen`).
        max_frames: u32,
    },
}

/// How many frames `Qwen2-VL` takes (`smart_nframes`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmartFrames {
    /// A rate or a number.
    pub wanted: WantedFrames,
    /// The number is a multiple of this (`FRAME_FACTOR`, `temporal_patch_size`).
    pub factor: u32,
    /// How it becomes one.
    pub rounding: FrameRounding,
}

/// The rate or number that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WantedFrames {
    /// `fps`, within `min_frames` and `max_frames`.
    PerSecond {
        /// Frames per second.
        fps: f64,
        /// At least, if the video has so many.
        min_frames: u32,
        /// At most.
        max_frames: u32,
    },
    /// `nframes`
    Number(u32),
}

/// How a number of frames becomes a multiple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameRounding {
    /// To the nearest, halves to the even multiple: `qwen_vl_utils` of January 2025.
    Nearest,
    /// Down, and never above the number of frames: later versions.
    Down,
}

impl SmartFrames {
    /// `Qwen2-VL`'s: 2 frames a second, 4 to 768, by twos.
    pub fn qwen2_vl(rounding: FrameRounding) -> Self {
        let wanted = WantedFrames::PerSecond { fps: 2.0, min_frames: 4, max_frames: 768 };
        Self { wanted, factor: 2, rounding }
    }

    /// The number of frames; a video of fewer frames than one factor is none, but a picture.
    pub fn count(&self, total: u64, video_fps: f64) -> Result<u64, MediaError> {
        let factor = f64::from(self.factor.max(1));
        let count = match self.wanted {
            WantedFrames::Number(number) => (f64::from(number) / factor).round_ties_even() * factor,
            WantedFrames::PerSecond { fps, min_frames, max_frames } => {
                let least = (f64::from(min_frames) / factor).ceil() * factor;
                let most = (f64::from(max_frames).min(total as f64) / factor).floor() * factor;
                // in this order: a short video may have fewer frames than the least number
                let count = (total as f64 / video_fps * fps).max(least).min(most);
                match self.rounding {
                    FrameRounding::Nearest => (count / factor).round_ties_even() * factor,
                    FrameRounding::Down => (count.min(total as f64) / factor).floor() * factor,
                }
            }
        };
        if (total as f64) < factor {
            return Err(MediaError::video(format!("a video of {total} frame(s): at least {factor} are needed")));
        }
        if count < factor || count > total as f64 {
            let detail = format!("{count} frames are wanted of a video of {total}, must be {factor} to {total}");
            return Err(MediaError::video(detail));
        }
        Ok(count as u64)
    }
}

impl FrameSampling {
    /// How many frames a clip has that came as so many pictures: where a family takes frames in groups, the last one stands
    /// again until a group is full, as in `transformers`.
    pub fn frames_of(&self, pictures: u64) -> u64 {
        match self {
            Self::Qwen2Vl(smart) => pictures.next_multiple_of(u64::from(smart.factor.max(1))),
            _ => pictures,
        }
    }

    /// Numbers of the frames, ascending, of a video of `total` frames at `fps` a second.
    pub fn indices(&self, total: u64, fps: f64) -> Result<Vec<u64>, MediaError> {
        check_video(total, fps)?;
        self.check()?;
        Ok(match *self {
            Self::Qwen2Vl(smart) => spread(total, smart.count(total, fps)?, f64::round_ties_even),
            Self::VideoChatGpt { frames } => rounded_middles(total, u64::from(frames).min(total)),
            Self::SegmentMiddles { frames } => middles(total, frames.into()),
            Self::SegmentsPerSecond { fps: wanted, max_frames } => segments(total, fps, wanted, max_frames.into()),
            Self::Linspace { frames } => spread(total, frames.into(), f64::trunc),
            Self::Step { fps: wanted, max_frames } => steps(total, fps, wanted, max_frames.into())?,
            Self::LlamaFactory { fps: wanted, max_frames } => {
                let wanted = (total as f64 / fps * wanted).floor().max(1.0);
                spread(total, (wanted as u64).min(max_frames.into()).min(total), f64::trunc)
            }
        })
    }

    /// Counts and rates in range.
    fn check(&self) -> Result<(), MediaError> {
        let (frames, fps) = match *self {
            Self::Qwen2Vl(SmartFrames { wanted, .. }) => match wanted {
                WantedFrames::Number(number) => (number, 1.0),
                WantedFrames::PerSecond { fps, max_frames, .. } => (max_frames, fps),
            },
            Self::VideoChatGpt { frames } | Self::SegmentMiddles { frames } | Self::Linspace { frames } => {
                (frames, 1.0)
            }
            Self::SegmentsPerSecond { fps, max_frames } | Self::LlamaFactory { fps, max_frames } => (max_frames, fps),
            Self::Step { fps, max_frames } => (max_frames.max(1), fps),
        };
        if !(1..=MAX_FRAMES).contains(&frames) || !fps.is_finite() || fps <= 0.0 {
            let detail = format!("{frames} frames at {fps} a second are asked for, at most {MAX_FRAMES} are taken");
            return Err(MediaError::video(detail));
        }
        Ok(())
    }
}

/// Most frames that a rule may ask for.
const MAX_FRAMES: u32 = 1 << 16;

fn check_video(total: u64, fps: f64) -> Result<(), MediaError> {
    if total == 0 || total > 1 << 40 || !fps.is_finite() || fps <= 0.0 {
        return Err(MediaError::video(format!("{total} frames at {fps} a second")));
    }
    Ok(())
}

/// `linspace(0, total - 1, count)`, made whole by `round`.
fn spread(total: u64, count: u64, round: impl Fn(f64) -> f64) -> Vec<u64> {
    let step = (total - 1) as f64 / count.saturating_sub(1).max(1) as f64;
    let last = |i: u64| i > 0 && i + 1 == count;
    // numpy sets the last one, which the product may miss by a hair
    (0..count).map(|i| if last(i) { total - 1 } else { round(i as f64 * step) as u64 }).collect()
}

/// Means of rounded borders, cut off: `(round(s * i) + round(s * (i + 1))) // 2`.
fn rounded_middles(total: u64, count: u64) -> Vec<u64> {
    let segment = (total - 1) as f64 / count as f64;
    let border = |i: u64| (segment * i as f64).round_ties_even() as u64;
    (0..count).map(|i| u64::midpoint(border(i), border(i + 1))).collect()
}

/// Rounded means of borders: `round((s * i + s * (i + 1)) / 2 + 1e-6)`.
fn middles(total: u64, count: u64) -> Vec<u64> {
    let segment = (total - 1) as f64 / count as f64;
    let middle = |i: u64| f64::midpoint(segment * i as f64, segment * (i + 1) as f64);
    (0..count).map(|i| (middle(i) + 1e-6).round_ties_even() as u64).collect()
}

/// `arange(segment // 2, total, segment)`, its first `max_frames`.
fn segments(total: u64, fps: f64, wanted: f64, max_frames: u64) -> Vec<u64> {
    let segment = ((fps / wanted).floor() as u64).clamp(1, total);
    let all = (total - segment / 2).div_ceil(segment);
    (0..all.min(max_frames)).map(|i| segment / 2 + i * segment).collect()
}

/// `range(0, total, round(fps / wanted))`
fn steps(total: u64, fps: f64, wanted: f64, max_frames: u64) -> Result<Vec<u64>, MediaError> {
    let step = ((fps / wanted).round_ties_even() as u64).max(1);
    let all = total.div_ceil(step);
    if max_frames > 0 && all > max_frames {
        return Ok(spread(total, max_frames, f64::trunc));
    }
    if all > u64::from(MAX_FRAMES) {
        return Err(MediaError::video(format!("{all} frames are asked for, at most {MAX_FRAMES} are taken")));
    }
    Ok((0..all).map(|i| i * step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(rule: FrameSampling, total: u64, fps: f64) -> Vec<u64> {
        rule.indices(total, fps).expect("frames")
    }

    fn qwen(rounding: FrameRounding) -> FrameSampling {
        FrameSampling::Qwen2Vl(SmartFrames::qwen2_vl(rounding))
    }

    /// The table holds for `round_by_factor` and, being even already, for `floor_by_factor`.
    #[test]
    fn qwen2_vl_spreads_an_even_number_of_frames() {
        let cases: [(u64, f64, &[u64]); 9] = [
            (2, 25.0, &[0, 1]),
            (3, 25.0, &[0, 2]),
            (5, 25.0, &[0, 1, 3, 4]),
            (7, 25.0, &[0, 2, 4, 6]),
            (25, 25.0, &[0, 8, 16, 24]),
            (30, 30.0, &[0, 10, 19, 29]),
            (100, 25.0, &[0, 14, 28, 42, 57, 71, 85, 99]),
            (101, 25.0, &[0, 14, 29, 43, 57, 71, 86, 100]),
            (300, 29.97, &[0, 16, 31, 47, 63, 79, 94, 110, 126, 142, 157, 173, 189, 205]),
        ];
        for (total, fps, expected) in cases {
            let indices = picked(qwen(FrameRounding::Nearest), total, fps);
            assert_eq!(indices[..expected.len()], *expected, "{total}");
            assert_eq!(indices.len(), if total == 300 { 20 } else { expected.len() }, "{total}");
        }
    }

    /// 300 frames at 29.97 make 20.02 frames; 27 seconds at 25 make 54, 13.6 seconds 27.2.
    #[test]
    fn later_versions_of_qwen2_vl_round_down() {
        let count = |rounding, total| SmartFrames::qwen2_vl(rounding).count(total, 25.0).expect("frames");
        assert_eq!([340, 345, 350].map(|total| count(FrameRounding::Nearest, total)), [28, 28, 28]);
        assert_eq!([340, 345, 350].map(|total| count(FrameRounding::Down, total)), [26, 26, 28]);
        let hour = |rounding| count(rounding, 3600 * 25);
        assert_eq!([hour(FrameRounding::Nearest), hour(FrameRounding::Down)], [768, 768]);
    }

    #[test]
    fn a_number_of_frames_is_asked_for_directly() {
        let count = |number, total| {
            let wanted = WantedFrames::Number(number);
            SmartFrames { wanted, ..SmartFrames::qwen2_vl(FrameRounding::Down) }.count(total, 25.0)
        };
        // halves to the even multiple: 5 / 2 = 2.5
        assert_eq!([8, 7, 5].map(|number| count(number, 100).expect("frames")), [8, 8, 4]);
        assert!(count(8, 7).expect_err("too few").to_string().contains("8 frames are wanted of a video of 7"));
        assert!(count(1, 7).is_err());
    }

    #[test]
    fn one_frame_is_no_video_to_qwen2_vl_and_one_to_the_others() {
        let error = qwen(FrameRounding::Down).indices(1, 25.0).expect_err("refused");
        assert_eq!((error.reason(), error.to_string().contains("a video of 1")), ("bad_video", true));
        for (rule, expected) in [
            (FrameSampling::VideoChatGpt { frames: 100 }, vec![0]),
            (FrameSampling::SegmentMiddles { frames: 8 }, vec![0; 8]),
            (FrameSampling::SegmentsPerSecond { fps: 1.0, max_frames: 32 }, vec![0]),
            (FrameSampling::Linspace { frames: 8 }, vec![0; 8]),
            (FrameSampling::Linspace { frames: 1 }, vec![0]),
            (FrameSampling::Step { fps: 1.0, max_frames: 8 }, vec![0]),
            (FrameSampling::LlamaFactory { fps: 2.0, max_frames: 128 }, vec![0]),
        ] {
            assert_eq!(picked(rule, 1, 25.0), expected, "{rule:?}");
        }
    }

    #[test]
    fn video_chatgpt_takes_middles_of_rounded_borders() {
        let indices = |total| picked(FrameSampling::VideoChatGpt { frames: 100 }, total, 25.0);
        assert_eq!(indices(2), [0, 0]);
        assert_eq!(indices(7), [0, 1, 2, 3, 3, 4, 5]);
        let all = indices(100);
        assert_eq!((all.len(), all[0], &all[97..]), (100, 0, &[96, 97, 98][..]));
        let long = indices(250);
        assert_eq!(long[..10], [1, 3, 6, 8, 11, 13, 16, 18, 21, 23]);
        assert_eq!(long[97..], [243, 245, 248]);
        let next = indices(101);
        assert_eq!((next[0], next[50], next[99]), (0, 50, 99));
    }

    #[test]
    fn videollama2_takes_middles_of_segments() {
        let indices = |total| picked(FrameSampling::SegmentMiddles { frames: 8 }, total, 25.0);
        assert_eq!(indices(2), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(indices(7), [0, 1, 2, 3, 3, 4, 5, 6]);
        assert_eq!(indices(8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(indices(9), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(indices(16), [1, 3, 5, 7, 8, 10, 12, 14]);
        assert_eq!(indices(100), [6, 19, 31, 43, 56, 68, 80, 93]);
        assert_eq!(indices(101), [6, 19, 31, 44, 56, 69, 81, 94]);
        assert_eq!(indices(300), [19, 56, 93, 131, 168, 206, 243, 280]);
    }

    /// `arange(fps // 2, total, fps)`
    #[test]
    fn videollama2_takes_a_frame_a_second() {
        let rule = FrameSampling::SegmentsPerSecond { fps: 1.0, max_frames: 3 };
        assert_eq!(picked(rule, 7, 25.0), [3]);
        assert_eq!(picked(rule, 60, 25.0), [12, 37]);
        assert_eq!(picked(rule, 100, 29.97), [14, 43, 72]);
        assert_eq!(picked(rule, 1000, 25.0), [12, 37, 62]);
    }

    #[test]
    fn linspace_cuts_off() {
        let indices = |total| picked(FrameSampling::Linspace { frames: 8 }, total, 25.0);
        assert_eq!(indices(2), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(indices(7), [0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(indices(9), [0, 1, 2, 3, 4, 5, 6, 8]);
        assert_eq!(indices(16), [0, 2, 4, 6, 8, 10, 12, 15]);
        assert_eq!(indices(100), [0, 14, 28, 42, 56, 70, 84, 99]);
        assert_eq!(indices(101), [0, 14, 28, 42, 57, 71, 85, 100]);
        assert_eq!(indices(300), [0, 42, 85, 128, 170, 213, 256, 299]);
    }

    #[test]
    fn llava_video_steps_until_there_are_too_many() {
        let rule = FrameSampling::Step { fps: 1.0, max_frames: 8 };
        assert_eq!(picked(rule, 100, 25.0), [0, 25, 50, 75]);
        assert_eq!(picked(rule, 101, 29.97), [0, 30, 60, 90]);
        assert_eq!(picked(rule, 300, 25.0), [0, 42, 85, 128, 170, 213, 256, 299]);
        assert_eq!(picked(FrameSampling::Step { fps: 1.0, max_frames: 0 }, 300, 25.0).len(), 12);
        // 2.5 frames: round half to even
        assert_eq!(picked(FrameSampling::Step { fps: 10.0, max_frames: 8 }, 7, 25.0), [0, 2, 4, 6]);
    }

    #[test]
    fn llama_factory_floors_and_cuts_off() {
        let rule = FrameSampling::LlamaFactory { fps: 2.0, max_frames: 6 };
        assert_eq!(picked(rule, 7, 25.0), [0]);
        assert_eq!(picked(rule, 30, 25.0), [0, 29]);
        assert_eq!(picked(rule, 50, 25.0), [0, 16, 32, 49]);
        assert_eq!(picked(rule, 1000, 25.0), [0, 199, 399, 599, 799, 999]);
    }

    #[test]
    fn videos_and_rules_without_sense_are_refused() {
        let rule = FrameSampling::Linspace { frames: 8 };
        for (total, fps) in [(0, 25.0), (10, 0.0), (10, f64::NAN), (10, -1.0), (u64::MAX, 25.0)] {
            assert_eq!(rule.indices(total, fps).expect_err("refused").reason(), "bad_video");
        }
        for rule in [
            FrameSampling::Linspace { frames: 0 },
            FrameSampling::Linspace { frames: u32::MAX },
            FrameSampling::Step { fps: f64::NAN, max_frames: 0 },
            FrameSampling::LlamaFactory { fps: -1.0, max_frames: 8 },
        ] {
            assert!(rule.indices(10, 25.0).is_err(), "{rule:?}");
        }
        // without a ceiling of its own, a long video has one all the same
        assert!(FrameSampling::Step { fps: 25.0, max_frames: 0 }.indices(1 << 30, 25.0).is_err());
    }

    proptest::proptest! {
        #[test]
        fn indices_ascend_within_the_video(total in 1_u64..5000, fps in 1.0..120.0_f64, frames in 1_u32..200) {
            for rule in [
                FrameSampling::VideoChatGpt { frames },
                FrameSampling::SegmentMiddles { frames },
                FrameSampling::SegmentsPerSecond { fps: 1.0, max_frames: frames },
                FrameSampling::Linspace { frames },
                FrameSampling::Step { fps: 1.0, max_frames: frames },
                FrameSampling::LlamaFactory { fps: 2.0, max_frames: frames },
            ] {
                let indices = picked(rule, total, fps);
                assert!(!indices.is_empty() && indices.len() <= frames as usize, "{rule:?}");
                assert!(indices.is_sorted() && indices[indices.len() - 1] < total, "{rule:?}: {indices:?}");
            }
        }
    }
}
