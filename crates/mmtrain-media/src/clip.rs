//! Clips for encoders: which frames of a video, at which size, and what they become, known before anything is decoded.

use crate::sampling::FrameSampling;
use crate::video::VideoInfo;
use crate::{MediaError, MediaLayout, Processor};

/// How a video becomes a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipRule {
    /// Which frames.
    pub sampling: FrameSampling,
    /// Pixels that the frames of a clip share where the family has its own resolution: `qwen_vl_utils` has 24,576 x 28 x 28
    /// (January 2025) or 0.9 x 128,000 x 28 x 28 (later). Otherwise only each frame has its bounds.
    pub total_pixels: Option<u64>,
}

/// What is to be decoded of a video, and what it becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipPlan {
    /// Numbers of the frames.
    pub indices: Vec<u64>,
    /// With the bounds of this clip's frames.
    pub processor: Processor,
    /// What [`processor`](Self::processor) makes of the frames.
    pub layout: MediaLayout,
}

impl ClipRule {
    /// Frames and layout of a video, from its header.
    pub fn plan(&self, video: &VideoInfo, processor: &Processor) -> Result<ClipPlan, MediaError> {
        self.plan_thinned(video, processor, 1)
    }

    /// As [`plan`](Self::plan), with every so manieth of the frames that the rule picks.
    pub fn plan_thinned(&self, video: &VideoInfo, processor: &Processor, every: usize) -> Result<ClipPlan, MediaError> {
        let picked = self.sampling.indices(video.frames, video.fps)?;
        let indices = picked.into_iter().step_by(every.max(1)).collect::<Vec<_>>();
        let processor = self.bounded(processor, indices.len() as u64);
        let layout = processor.video_layout(video.size, indices.len())?;
        Ok(ClipPlan { indices, processor, layout })
    }

    fn bounded(&self, processor: &Processor, frames: u64) -> Processor {
        let mut bounded = processor.clone();
        if let (Processor::Qwen2Vl(qwen), Some(total)) = (&mut bounded, self.total_pixels) {
            qwen.videos = qwen.videos.of_clip(frames, total);
        }
        bounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FrameRounding, ImageProcessor, Rgb8, Size, SmartFrames};

    fn video(frames: u64) -> VideoInfo {
        VideoInfo { frames, fps: 25.0, duration_secs: frames as f64 / 25.0, size: Size::new(640, 480), audio: None }
    }

    #[test]
    fn a_tower_for_pictures_sees_frame_by_frame() {
        let processor = Processor::Square(ImageProcessor::siglip(28));
        let rule = ClipRule { sampling: FrameSampling::Linspace { frames: 3 }, total_pixels: Some(1) };
        let plan = rule.plan(&video(100), &processor).expect("a clip");
        assert_eq!((plan.indices, &plan.layout), (vec![0, 49, 99], &MediaLayout::Frames { side: 28, frames: 3 }));
        let pictures = [[200, 0, 0], [0, 200, 0], [0, 0, 200]].map(|colour| Rgb8::filled(40, 30, colour));
        let clip = plan.processor.process_video(&pictures).expect("a clip");
        assert_eq!((&clip.layout, clip.shape()), (&plan.layout, vec![3, 3, 28, 28]));
        for (picture, values) in pictures.iter().zip(clip.values.chunks(3 * 28 * 28)) {
            assert_eq!(processor.process(picture).expect("a picture").values, values);
        }
    }

    /// A minute at 2 frames a second is 120 frames, which share the pixels of 12,288 patches.
    #[test]
    fn a_clip_at_its_own_resolution_shares_pixels() {
        let processor = Processor::from_hf(
            r#"{"image_processor_type":"Qwen2VLImageProcessor",
            "min_pixels":100352,"max_pixels":602112}"#,
        );
        let processor = processor.expect("readable");
        let sampling = FrameSampling::Qwen2Vl(SmartFrames::qwen2_vl(FrameRounding::Down));
        let thw = |total_pixels| {
            let plan = ClipRule { sampling, total_pixels }.plan(&video(1500), &processor).expect("a clip");
            let MediaLayout::Grid(grid) = plan.layout else { panic!("no grid") };
            assert_eq!(plan.indices.len(), 120);
            grid.thw()
        };
        assert_eq!(thw(None), [60, 34, 46]);
        assert_eq!(thw(Some(24_576 * 784)), [60, 34, 46]);
        // 12,288 / 120 * 2 = 204.8 tokens a frame: 12 x 16 of them
        assert_eq!(thw(Some(12_288 * 784)), [60, 24, 32]);
    }

    #[test]
    fn a_video_that_has_too_few_frames_is_refused_before_decoding() {
        let processor = Processor::from_hf(r#"{"image_processor_type":"Qwen2VLImageProcessor"}"#).expect("defaults");
        let sampling = FrameSampling::Qwen2Vl(SmartFrames::qwen2_vl(FrameRounding::Down));
        let error = ClipRule { sampling, total_pixels: None }.plan(&video(1), &processor).expect_err("refused");
        assert_eq!(error.reason(), "bad_video");
    }
}
