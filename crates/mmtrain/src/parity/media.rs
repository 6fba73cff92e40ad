//! Recorded pictures, clips and sounds, each at its placeholders.
//!
//! Which tensors there are and how they lie is the business of each family's processor; see `scripts/parity/README.md`.

use std::collections::VecDeque;
use std::ops::Range;

use mmtrain_data::{HostMedium, Medium};
use mmtrain_media::{AnyRes, CanvasLayout, Filter, GridLayout, MediaLayout, MediaValues, Normalise, Size, SoundLayout};
use mmtrain_model::config::{EncoderConfig, MllamaVisionConfig, QwenVlVisionConfig, VitConfig, VlmConfig};

use super::recorded::{IdTable, Recorded};

/// Media that have not been placed yet, by the token that stands for them.
#[derive(Default)]
struct Queues {
    images: VecDeque<Medium>,
    videos: VecDeque<Medium>,
}

/// Without its places.
fn unplaced(input: MediaValues) -> Medium {
    Medium::new(Vec::new(), input)
}

/// Mllama's stand-in where a row has fewer pictures than another.
fn is_no_picture(medium: &Medium) -> bool {
    matches!(&medium.input.layout, MediaLayout::Canvas(canvas) if canvas.tiles() == 0)
}

/// The recorded media in the order of their placeholders, none if there are no placeholders; every medium has some.
pub(super) fn placed(config: &VlmConfig, recorded: &Recorded, ids: &IdTable) -> anyhow::Result<Vec<HostMedium>> {
    let (placed, left) = placed_first(config, recorded, ids)?;
    match left {
        0 => Ok(placed),
        left => {
            let (found, all) = (placed.len(), placed.len() + left);
            Err(recorded.bad(&format!("holds placeholders of {found} picture(s) and {all} picture(s)")).into())
        }
    }
}

/// As [`placed`], where only the first media may have placeholders; also how many have none.
pub(super) fn placed_first(
    config: &VlmConfig,
    recorded: &Recorded,
    ids: &IdTable,
) -> anyhow::Result<(Vec<HostMedium>, usize)> {
    let kinds = [Some(config.image_token_id), config.video_token_id].map(|id| id.map(|id| id as i64));
    if !ids.values.iter().any(|&id| kinds.contains(&Some(id))) {
        return Ok((Vec::new(), 0));
    }
    let mut queues = recorded_media(config, recorded)?;
    let mut placed = Vec::new();
    for (row, ids) in ids.values.chunks_exact(ids.cols).enumerate() {
        let mut places = (0..ids.len()).filter(|&at| kinds.contains(&Some(ids[at]))).peekable();
        while let Some(&first) = places.peek() {
            let is_video = kinds[1] == Some(ids[first]);
            let queue = if is_video { &mut queues.videos } else { &mut queues.images };
            let next = queue.pop_front();
            let next = next.ok_or_else(|| recorded.bad(&format!("holds no medium for column {first} of row {row}")))?;
            let count = next.input.layout.tokens(config.media_tokens());
            let taken = places.by_ref().take(count).collect::<Vec<_>>();
            if taken.len() != count {
                let message = format!(
                    "holds {} placeholders from column {first} of row {row} on, the medium there takes {count}",
                    taken.len()
                );
                return Err(recorded.bad(&message).into());
            }
            placed.push(HostMedium { row, medium: Medium { spans: runs(&taken), ..next } });
        }
        while let Some(medium) = queues.images.pop_front_if(|medium| is_no_picture(medium)) {
            placed.push(HostMedium { row, medium });
        }
    }
    Ok((placed, queues.images.len() + queues.videos.len()))
}

/// Runs of neighbouring columns: first and length.
fn runs(places: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &place in places {
        match runs.last_mut() {
            Some((start, len)) if *start + *len == place => *len += 1,
            _ => runs.push((place, 1)),
        }
    }
    runs
}

fn recorded_media(config: &VlmConfig, recorded: &Recorded) -> anyhow::Result<Queues> {
    let images = match &config.encoder {
        EncoderConfig::QwenVl(qwen) => {
            let images = grids(qwen, recorded, "pixel_values", "image_grid_thw")?;
            let videos = grids(qwen, recorded, "pixel_values_videos", "video_grid_thw")?;
            return Ok(Queues { images: images.into_iter().map(unplaced).collect(), videos: timed(recorded, videos)? });
        }
        EncoderConfig::Audio(_) => sounds(recorded)?,
        EncoderConfig::Mllama(mllama) => canvases(mllama, recorded)?,
        EncoderConfig::Vit(vit) => match &config.image_grid_pinpoints {
            Some(pinpoints) => any_res(vit, pinpoints, recorded)?,
            None => tiles(vit, recorded)?,
        },
        EncoderConfig::Fused(fused) => tiles(&fused.first, recorded)?,
    };
    let images = images.into_iter().map(unplaced).collect();
    Ok(Queues { images: instructed(recorded, images)?, videos: VecDeque::new() })
}

/// Clips with `in.second_per_grid_ts`, if it is there.
fn timed(recorded: &Recorded, videos: VecDeque<MediaValues>) -> anyhow::Result<VecDeque<Medium>> {
    let seconds = recorded.input("second_per_grid_ts")?.map(|stored| stored.values).unwrap_or_default();
    if !seconds.is_empty() && seconds.len() != videos.len() {
        let message = format!("holds {} `in.second_per_grid_ts` and {} clips", seconds.len(), videos.len());
        return Err(recorded.bad(&message).into());
    }
    let seconds = seconds.into_iter().map(f64::from).chain(std::iter::repeat(1.0));
    let medium = |(input, group_seconds)| Medium { group_seconds, ..unplaced(input) };
    Ok(videos.into_iter().zip(seconds).map(medium).collect())
}

/// Pictures with the question of `in.qformer_input_ids`, a row for each, without its padding.
fn instructed(recorded: &Recorded, mut images: VecDeque<Medium>) -> anyhow::Result<VecDeque<Medium>> {
    let Some(ids) = recorded.ids("qformer_input_ids", |id| id >= 0)? else { return Ok(images) };
    let mask = recorded.ids_like("qformer_attention_mask", &ids, |keep| keep == 0 || keep == 1)?;
    if ids.rows != images.len() {
        let message = format!("holds {} rows of `in.qformer_input_ids` and {} pictures", ids.rows, images.len());
        return Err(recorded.bad(&message).into());
    }
    for (row, image) in images.iter_mut().enumerate() {
        let columns = row * ids.cols..(row + 1) * ids.cols;
        let kept = columns.filter(|&at| mask.as_ref().is_none_or(|mask| mask.values[at] == 1));
        image.instruction = kept.map(|at| ids.values[at] as u32).collect();
    }
    Ok(images)
}

/// Each tile alone. `[images, 3, side, side]`, or `[rows, tiles, 3, side, side]` of which the padding is zero
fn tiles(vit: &VitConfig, recorded: &Recorded) -> anyhow::Result<VecDeque<MediaValues>> {
    let side = vit.vision.image_size;
    let stored = recorded.need(recorded.input("pixel_values")?, "pixel_values", "an image tower")?;
    let has_padding = stored.shape.len() == 5 && vit.vision.family.has_buckets();
    let (&[.., 3, height, width], true) = (stored.shape.as_slice(), stored.shape.len() == 4 || has_padding) else {
        let message = format!("holds `in.pixel_values` of shape {:?}, this encoder takes [_, 3, _, _]", stored.shape);
        return Err(recorded.bad(&message).into());
    };
    if (height, width) != (side, side) {
        let shape = &stored.shape;
        let message = format!("holds `in.pixel_values` of shape {shape:?}, this encoder takes [_, 3, {side}, {side}]");
        return Err(recorded.bad(&message).into());
    }
    let tiles = stored.values.chunks_exact(3 * side * side);
    let tiles = tiles.filter(|tile| !has_padding || tile.iter().any(|&value| value != 0.0));
    let layout = MediaLayout::Square { side: side as u32 };
    Ok(tiles.map(|tile| MediaValues { values: tile.to_vec(), layout: layout.clone() }).collect())
}

/// LLaVA-NeXT's: `[images, tiles, 3, side, side]`, of which each image has as many as its size says.
fn any_res(vit: &VitConfig, pinpoints: &[[usize; 2]], recorded: &Recorded) -> anyhow::Result<VecDeque<MediaValues>> {
    let side = vit.vision.image_size as u32;
    let stored = recorded.need(recorded.input("pixel_values")?, "pixel_values", "an image tower")?;
    let sizes = recorded.ids("image_sizes", |size| (1..=1 << 15).contains(&size))?;
    let sizes = recorded.need(sizes, "image_sizes", "LLaVA-NeXT")?;
    let pinpoints = pinpoints.iter().map(|&[height, width]| Size::new(width as u32, height as u32)).collect();
    let processor = AnyRes { side, pinpoints, filter: Filter::Bicubic, normalise: Normalise::CLIP };
    let per_image = stored.values.len() / sizes.rows;
    let images = stored.values.chunks_exact(per_image.max(1)).zip(sizes.values.chunks_exact(sizes.cols));
    let images = images.map(|(values, size)| {
        let &[height, width] = size else {
            anyhow::bail!(recorded.bad("holds `in.image_sizes` that are not two wide"))
        };
        let layout = MediaLayout::from(processor.layout(Size::new(width as u32, height as u32))?);
        let Some(values) = values.get(..layout.values()) else {
            anyhow::bail!(recorded.bad(&format!("holds fewer tiles than a picture of {height} x {width} has")));
        };
        Ok(MediaValues { values: values.to_vec(), layout })
    });
    images.collect()
}

/// Qwen2-VL's: `[patches, values]` of all pictures one after the other.
fn grids(
    config: &QwenVlVisionConfig,
    recorded: &Recorded,
    pixels: &str,
    grids: &str,
) -> anyhow::Result<VecDeque<MediaValues>> {
    let Some(stored) = recorded.input(pixels)? else { return Ok(VecDeque::new()) };
    let table = recorded.ids(grids, |size| (1..=4096).contains(&size))?;
    let table = recorded.need(table, grids, "this tower")?;
    let mut rest = stored.values.as_slice();
    let mut media = VecDeque::new();
    for thw in table.values.chunks_exact(table.cols) {
        let &[time, height, width] = thw else {
            return Err(recorded.bad(&format!("holds an `in.{grids}` that is not three wide")).into());
        };
        let [time, height, width] = [time, height, width].map(|size| size as u32);
        let [patch_size, merge, frames] =
            [config.patch_size, config.spatial_merge_size, config.temporal_patch_size].map(|size| size as u32);
        let layout = MediaLayout::Grid(GridLayout { time, height, width, patch_size, merge, frames });
        let Some((values, others)) = rest.split_at_checked(layout.values()) else {
            return Err(recorded.bad(&format!("holds fewer patches in `in.{pixels}` than `in.{grids}` says")).into());
        };
        media.push_back(MediaValues { values: values.to_vec(), layout });
        rest = others;
    }
    Ok(media)
}

/// Mllama's: `[rows, images, tiles, 3, side, side]`, of which `in.aspect_ratio_ids` `[rows, images]` says the tiles; 0
/// stands where a row has no picture.
fn canvases(config: &MllamaVisionConfig, recorded: &Recorded) -> anyhow::Result<VecDeque<MediaValues>> {
    let stored = recorded.need(recorded.input("pixel_values")?, "pixel_values", "an image tower")?;
    let valid = |id: i64| (0..=config.aspect_ratios.len() as i64).contains(&id);
    let ids = recorded.need(recorded.ids("aspect_ratio_ids", valid)?, "aspect_ratio_ids", "Mllama")?;
    let (side, tiles) = (config.image_size, config.max_num_tiles);
    if stored.shape != [ids.rows, ids.cols, tiles, 3, side, side] {
        let shape = &stored.shape;
        let message = format!(
            "holds `in.pixel_values` of shape {shape:?}, this encoder takes [_, _, {tiles}, 3, {side}, {side}]"
        );
        return Err(recorded.bad(&message).into());
    }
    let canvas = |(values, &id): (&[f32], &i64)| {
        let [rows, cols] = config.aspect_ratios.get((id - 1) as usize).copied().unwrap_or_default();
        let [rows, cols, side, max_tiles] = [rows, cols, side, tiles].map(|size| size as u32);
        let resized = Size::new(cols * side, rows * side);
        let layout = MediaLayout::Canvas(CanvasLayout { side, rows, cols, resized, max_tiles });
        MediaValues { values: values[..layout.values()].to_vec(), layout }
    };
    Ok(stored.values.chunks_exact(tiles * 3 * side * side).zip(&ids.values).map(canvas).collect())
}

/// `[clips, mels, frames]`, of which each clip has as many frames as its mask.
fn sounds(recorded: &Recorded) -> anyhow::Result<VecDeque<MediaValues>> {
    let stored = recorded.need(recorded.input("input_features")?, "input_features", "an audio encoder")?;
    let &[clips, mels, frames] = stored.shape.as_slice() else {
        let message = format!("holds `in.input_features` of shape {:?}, expected [clips, mels, frames]", stored.shape);
        return Err(recorded.bad(&message).into());
    };
    let mask = recorded.ids("feature_attention_mask", |keep| keep == 0 || keep == 1)?;
    let heard = |clip: usize| match &mask {
        Some(mask) if mask.cols == frames && clip < mask.rows => {
            mask.values[clip * frames..(clip + 1) * frames].iter().filter(|&&keep| keep == 1).count()
        }
        _ => frames,
    };
    let sound = |(clip, values): (usize, &[f32])| {
        let [mels, frames, valid_frames] = [mels, frames, heard(clip)].map(|size| size as u32);
        let layout = MediaLayout::Sound(SoundLayout { mels, frames, valid_frames });
        MediaValues { values: values.to_vec(), layout }
    };
    Ok(stored.values.chunks_exact((mels * frames).max(1)).take(clips).enumerate().map(sound).collect())
}

/// Columns of each row that the mask keeps.
pub(super) fn kept(mask: Option<&[i64]>, rows: usize, cols: usize) -> Vec<Range<usize>> {
    let kept = |row: usize| {
        let Some(mask) = mask else { return 0..cols };
        let mask = &mask[row * cols..(row + 1) * cols];
        let first = mask.iter().position(|&keep| keep != 0).unwrap_or(0);
        first..mask.iter().rposition(|&keep| keep != 0).map_or(first, |last| last + 1)
    };
    (0..rows).map(kept).collect()
}
