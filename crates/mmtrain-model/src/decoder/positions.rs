//! Positions in time, height and width: M-RoPE of Qwen2-VL.
//!
//! The rule of the paper (Wang et al., 2024, arXiv:2409.12191, section 2.1) and of `get_rope_index` in
//! `modeling_qwen2_vl.py` of transformers 4: text takes the next position on all three axes; a picture or
//! video of `t × h × w` merged patches spans `t`, `h` and `w` positions from the next one on; what comes
//! behind starts above the largest of them. Qwen2.5-VL spreads the frames of a video by the seconds between
//! them ([`Positions::timed`]). Transformers 5 goes on at `start + max(h, w)` instead, so that
//! text behind a video of many frames takes positions that the video has already; that is not followed.

use std::iter::{repeat, repeat_n};

use crate::error::ModelError;

/// What stands for pictures and videos in the token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placeholders {
    /// Id that stands for a token of a picture.
    pub image: i32,
    /// Id that stands for a token of a video.
    pub video: i32,
    /// Patches along one side that become one token.
    pub merge: usize,
}

/// Patches of a picture or video, before merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Frame pairs; 1 for a picture.
    pub frames: usize,
    /// Patches from top to bottom.
    pub height: usize,
    /// Patches from left to right.
    pub width: usize,
}

impl Grid {
    /// Tokens along each axis.
    fn merged(self, merge: usize) -> [usize; 3] {
        [self.frames, self.height / merge, self.width / merge]
    }

    /// Tokens that stand for it.
    pub fn tokens(self, merge: usize) -> usize {
        self.merged(merge).iter().product()
    }
}

/// Where the tokens of one sequence stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    axes: [Vec<usize>; 3],
    next: usize,
}

impl Positions {
    /// Positions of one sequence without padding.
    ///
    /// `images` and `videos` are the grids in the order in which their placeholders stand.
    pub fn of(
        input_ids: &[i32],
        placeholders: &Placeholders,
        images: &[Grid],
        videos: &[Grid],
    ) -> Result<Self, ModelError> {
        Self::timed(input_ids, placeholders, images, videos, &vec![1.0; videos.len()])
    }

    /// As [`of`](Self::of), for Qwen2.5-VL: frame `i` of a video stands `i * interval` positions behind its first,
    /// rounded down.
    ///
    /// `intervals`: for each video, `tokens_per_second` times the seconds that pass from one frame (pair) to the
    /// next (`second_per_grid_ts`).
    ///
    /// Follows `get_rope_index` of `modeling_qwen2_5_vl.py`, product in f32 as there. Transformers 4.57 rounds the
    /// seconds down before it multiplies, so that at two or more frame pairs a second all stand at one position;
    /// that is not followed (neither by version 5).
    pub fn timed(
        input_ids: &[i32],
        placeholders: &Placeholders,
        images: &[Grid],
        videos: &[Grid],
        intervals: &[f64],
    ) -> Result<Self, ModelError> {
        check_intervals(intervals, videos.len())?;
        let (mut images, mut videos) = (images.iter().zip(repeat(&1.0)), videos.iter().zip(intervals));
        let mut positions = Self::default();
        let mut rest = input_ids;
        while let Some(&id) = rest.first() {
            let next = match id {
                id if id == placeholders.image => images.next(),
                id if id == placeholders.video => videos.next(),
                _ => {
                    positions.text(1);
                    rest = &rest[1..];
                    continue;
                }
            };
            let (grid, interval) =
                next.ok_or_else(|| mismatch(format!("placeholder {id} has no picture or video left")))?;
            rest = &rest[run(rest, id, *grid, placeholders.merge)?..];
            positions.media(grid.merged(placeholders.merge), *interval);
        }
        match images.count() + videos.count() {
            0 => Ok(positions),
            left => Err(mismatch(format!("{left} picture(s) or video(s) have no placeholders"))),
        }
    }

    /// The position of `count` tokens of text behind `self`, such as those that are generated.
    #[must_use]
    pub fn following(&self, count: usize) -> Self {
        let mut following = Self { axes: Default::default(), next: self.next };
        following.text(count);
        following
    }

    /// The position of one token of text, `count` tokens behind the last.
    #[must_use]
    pub fn after(&self, count: usize) -> Self {
        Self { axes: Default::default(), next: self.next + count }.following(1)
    }

    /// Those of the tokens behind the first `count`.
    #[must_use]
    pub fn behind(&self, count: usize) -> Self {
        Self { axes: self.axes.each_ref().map(|axis| axis[count..].to_vec()), next: self.next }
    }

    /// The same where the tokens from `second` on follow, as those from `first` on do, what stands before `first`: text with
    /// two ends.
    #[must_use]
    pub fn forked(mut self, first: usize, second: usize) -> Self {
        for axis in &mut self.axes {
            if let (Some(&from), Some(&at)) = (axis.get(first), axis.get(second)) {
                axis[second..].iter_mut().for_each(|position| *position -= at - from);
            }
        }
        self
    }

    /// Time, height and width. `[3][seq]`
    pub fn axes(&self) -> &[Vec<usize>; 3] {
        &self.axes
    }

    /// The position of a text token that follows.
    pub fn next(&self) -> usize {
        self.next
    }

    fn text(&mut self, count: usize) {
        for axis in &mut self.axes {
            axis.extend(self.next..self.next + count);
        }
        self.next += count;
    }

    fn media(&mut self, [frames, height, width]: [usize; 3], interval: f64) {
        let start = self.next;
        let time_of = |frame: usize| (frame as f32 * interval as f32) as usize;
        let [time, top, left] = &mut self.axes;
        for frame in 0..frames {
            for row in 0..height {
                time.extend(repeat_n(start + time_of(frame), width));
                top.extend(repeat_n(start + row, width));
                left.extend(start..start + width);
            }
        }
        self.next = start + (time_of(frames - 1) + 1).max(height).max(width);
    }
}

fn check_intervals(intervals: &[f64], videos: usize) -> Result<(), ModelError> {
    if intervals.len() != videos {
        return Err(mismatch(format!("{} interval(s) for {videos} video(s)", intervals.len())));
    }
    match intervals.iter().find(|interval| !(0.0..1e6).contains(*interval)) {
        None => Ok(()),
        Some(interval) => Err(mismatch(format!("frames of a video {interval} positions apart"))),
    }
}

/// The length of the run of placeholders that stands for `grid`.
fn run(ids: &[i32], id: i32, grid: Grid, merge: usize) -> Result<usize, ModelError> {
    let Grid { frames, height, width } = grid;
    let tokens = if merge == 0 { 0 } else { grid.tokens(merge) };
    if tokens == 0 || !height.is_multiple_of(merge) || !width.is_multiple_of(merge) {
        return Err(mismatch(format!("{frames} x {height} x {width} patches cannot be merged by {merge} a side")));
    }
    let found = ids.iter().take(tokens).take_while(|&&other| other == id).count();
    if found == tokens {
        return Ok(tokens);
    }
    Err(mismatch(format!("{frames} x {height} x {width} patches take {tokens} placeholders {id}, found {found}")))
}

fn mismatch(message: String) -> ModelError {
    ModelError::Placeholders { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QWEN: Placeholders = Placeholders { image: 100, video: 101, merge: 2 };

    fn grid(frames: usize, height: usize, width: usize) -> Grid {
        Grid { frames, height, width }
    }

    fn of(ids: &[i32], images: &[Grid], videos: &[Grid]) -> Positions {
        Positions::of(ids, &QWEN, images, videos).expect("they fit")
    }

    #[test]
    fn text_stands_at_ordinary_positions() {
        let positions = of(&[7, 8, 9], &[], &[]);
        assert_eq!(positions.axes(), &[vec![0, 1, 2], vec![0, 1, 2], vec![0, 1, 2]]);
        assert_eq!(positions.next(), 3);
    }

    /// What transformers 4.57.6 gives.
    #[test]
    fn a_video_and_a_picture_between_text() {
        let ids = [&[5, 102][..], &[101; 12], &[103, 6, 102], &[100; 6], &[103, 7, 8]].concat();
        let positions = of(&ids, &[grid(1, 4, 6)], &[grid(3, 4, 4)]);
        let time = [0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 11, 12, 13];
        let height = [0, 1, 2, 2, 3, 3, 2, 2, 3, 3, 2, 2, 3, 3, 5, 6, 7, 8, 8, 8, 9, 9, 9, 11, 12, 13];
        let width = [0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 5, 6, 7, 8, 9, 10, 8, 9, 10, 11, 12, 13];
        assert_eq!(positions.axes(), &[time.to_vec(), height.to_vec(), width.to_vec()]);
        let delta = positions.next() as i64 - ids.len() as i64;
        assert_eq!(delta, -12);
        assert_eq!(positions.following(2).axes(), &[vec![14, 15], vec![14, 15], vec![14, 15]]);
        assert_eq!(positions.following(2).next(), 16);
    }

    /// What transformers 4.57.6 gives for `tokens_per_second` 2 and two seconds per frame pair.
    #[test]
    fn frames_of_qwen2_5_vl_stand_as_far_apart_as_their_seconds() {
        let ids = [&[5, 102][..], &[101; 12], &[103, 6, 102], &[100; 6], &[103, 7, 8]].concat();
        let timed = |interval| {
            Positions::timed(&ids, &QWEN, &[grid(1, 4, 6)], &[grid(3, 4, 4)], &[interval]).expect("they fit")
        };
        let positions = timed(4.0);
        let time = [0, 1, 2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 11, 12, 13, 14, 14, 14, 14, 14, 14, 17, 18, 19];
        let height = [0, 1, 2, 2, 3, 3, 2, 2, 3, 3, 2, 2, 3, 3, 11, 12, 13, 14, 14, 14, 15, 15, 15, 17, 18, 19];
        let width = [0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 11, 12, 13, 14, 15, 16, 14, 15, 16, 17, 18, 19];
        assert_eq!(positions.axes(), &[time.to_vec(), height.to_vec(), width.to_vec()]);
        assert_eq!(positions.next() as i64 - ids.len() as i64, -6);
        assert_eq!(timed(1.5).axes()[0][2..14], [2, 2, 2, 2, 3, 3, 3, 3, 5, 5, 5, 5], "rounded down");
    }

    #[test]
    fn both_ends_of_a_fork_follow_the_picture() {
        let forked = of(&[5, 100, 100, 100, 100, 7, 8, 9, 7, 8], &[grid(1, 4, 4)], &[]).forked(6, 8);
        assert_eq!(forked.axes()[0], [0, 1, 1, 1, 1, 3, 4, 5, 4, 5]);
        assert_eq!(forked.axes()[2], [0, 1, 2, 1, 2, 3, 4, 5, 4, 5]);
    }

    #[test]
    fn intervals_that_do_not_fit_are_refused() {
        let says = |intervals: &[f64]| {
            let positions = Positions::timed(&[101], &QWEN, &[], &[grid(1, 2, 2)], intervals);
            positions.expect_err("refused").to_string()
        };
        assert!(says(&[]).contains("0 interval(s) for 1 video(s)"));
        assert!(says(&[-1.0]).contains("-1 positions apart"));
        assert!(says(&[f64::NAN]).contains("NaN"));
    }

    #[test]
    fn text_behind_a_long_video_stands_above_its_last_frame() {
        let positions = of(&[[101; 5].as_slice(), &[9]].concat(), &[], &[grid(5, 2, 2)]);
        assert_eq!(positions.axes().each_ref().map(|axis| axis[5]), [5, 5, 5]);
    }

    #[test]
    fn neighbours_of_one_kind_are_told_apart_by_their_grids() {
        let positions = of(&[100; 5], &[grid(1, 2, 2), grid(1, 4, 4)], &[]);
        assert_eq!(positions.axes(), &[vec![0, 1, 1, 1, 1], vec![0, 1, 1, 2, 2], vec![0, 1, 2, 1, 2]]);
    }

    #[test]
    fn placeholders_and_grids_must_fit() {
        let says = |ids: &[i32], images: &[Grid]| {
            Positions::of(ids, &QWEN, images, &[]).expect_err("they do not fit").to_string()
        };
        assert!(says(&[100; 5], &[grid(1, 4, 6)]).contains("take 6 placeholders 100, found 5"));
        assert!(says(&[100, 100, 7, 100], &[grid(1, 4, 4)]).contains("found 2"));
        assert!(says(&[100], &[]).contains("no picture"));
        assert!(says(&[7], &[grid(1, 2, 2)]).contains("1 picture(s)"));
        assert!(says(&[100], &[grid(1, 3, 2)]).contains("cannot be merged"));
        assert!(says(&[100], &[grid(0, 2, 2)]).contains("cannot be merged"));
    }
}
