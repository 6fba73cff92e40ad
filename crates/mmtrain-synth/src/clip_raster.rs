//! Clips to frames: one background, and the objects where they are at each moment.

use crate::background;
use crate::clip::{Action, ClipObject, ClipTruth, Direction, Turn};
use crate::raster::{Drawn, to_bytes};
use crate::rng::{Domain, Stream};
use crate::{ObjectTruth, SceneKey};

/// How far an object moves, as a share of the picture's side: from the middle of the first cell to that of the last.
const WAY: f32 = 2.0 / 3.0;
/// How far an object turns, in radians.
const QUARTER: f32 = std::f32::consts::FRAC_PI_2;

/// Renders the frames one after the other, each `[size, size, 3]`.
pub(crate) fn frames(key: &SceneKey, truth: &ClipTruth, size: u32) -> Vec<u8> {
    let background = background::paint(&mut Stream::new(key, Domain::Background), size);
    let mut rng = Stream::new(key, Domain::Motion);
    let objects: Vec<_> = truth.objects.iter().map(|object| (object, drawn(&mut rng, object))).collect();
    let mut bytes = Vec::with_capacity(background.len() * truth.frames as usize);
    for frame in 0..truth.frames {
        let mut pixels = background.clone();
        for (object, drawn) in &objects {
            if let Some(drawn) = at(object.action, drawn, frame, truth.frames) {
                drawn.draw(&mut pixels, size, drawn.bounds(size));
            }
        }
        bytes.extend(to_bytes(&pixels));
    }
    bytes
}

fn drawn(rng: &mut Stream, object: &ClipObject) -> Drawn {
    let ClipObject { shape, color, size, position, .. } = *object;
    Drawn::sample(rng, &ObjectTruth { shape, color, size, position, bounds: [0; 4] })
}

/// The object in a frame; none where it has not appeared yet.
fn at(action: Action, start: &Drawn, frame: u32, frames: u32) -> Option<Drawn> {
    let done = frame as f32 / (frames - 1).max(1) as f32;
    match action {
        Action::Moves { direction } => {
            let (x, y) = match direction {
                Direction::Left => (-WAY, 0.0),
                Direction::Right => (WAY, 0.0),
                Direction::Up => (0.0, -WAY),
                Direction::Down => (0.0, WAY),
            };
            Some(start.moved(x * done, y * done))
        }
        Action::Turns { turn } => {
            // y points down, so a positive angle is clockwise to the eye
            let sign = if turn == Turn::Clockwise { 1.0 } else { -1.0 };
            Some(start.turned(rotation(sign * QUARTER / (frames - 1).max(1) as f32), frame))
        }
        Action::Appears { frame: first } => (frame >= first).then(|| start.clone()),
    }
}

/// Cosine and sine of a small angle by their Taylor series, the same on every machine.
fn rotation(angle: f32) -> (f32, f32) {
    let square = angle * angle;
    (1.0 - square / 2.0 * (1.0 - square / 12.0), angle * (1.0 - square / 6.0 * (1.0 - square / 20.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Color, Position, Shape, Size, Split};

    const SIDE: u32 = 48;
    const FRAMES: u32 = 9;

    fn film(shape: Shape, position: Position, action: Action) -> Vec<Vec<u8>> {
        let key = SceneKey { seed: 3, split: Split::Train, index: 0, objects: (1, 1) };
        let object = ClipObject { shape, color: Color::Red, size: Size::Large, position, action };
        let truth = ClipTruth { objects: vec![object], frames: FRAMES, fps: 4 };
        frames(&key, &truth, SIDE).chunks((SIDE * SIDE * 3) as usize).map(<[u8]>::to_vec).collect()
    }

    /// Pixels that are clearly red, as (x, y).
    fn red(frame: &[u8]) -> Vec<(f32, f32)> {
        let is_red = |pixel: &[u8]| i32::from(pixel[0]) > i32::from(pixel[1]) + 80 && pixel[0] > 120;
        let pixels = frame.chunks(3).enumerate().filter(|(_, pixel)| is_red(pixel));
        pixels.map(|(i, _)| ((i as u32 % SIDE) as f32, (i as u32 / SIDE) as f32)).collect()
    }

    fn centre(frame: &[u8]) -> (f32, f32) {
        let pixels = red(frame);
        let n = pixels.len() as f32;
        (pixels.iter().map(|p| p.0).sum::<f32>() / n, pixels.iter().map(|p| p.1).sum::<f32>() / n)
    }

    #[test]
    fn what_moves_crosses_the_picture_its_way() {
        let ways = [
            (Direction::Left, Position::Right, (-32.0, 0.0)),
            (Direction::Right, Position::Left, (32.0, 0.0)),
            (Direction::Up, Position::Bottom, (0.0, -32.0)),
            (Direction::Down, Position::Top, (0.0, 32.0)),
        ];
        for (direction, start, (x, y)) in ways {
            let film = film(Shape::Circle, start, Action::Moves { direction });
            let (from, to) = (centre(&film[0]), centre(&film[FRAMES as usize - 1]));
            assert!((to.0 - from.0 - x).abs() < 1.0 && (to.1 - from.1 - y).abs() < 1.0, "{direction}: {from:?} {to:?}");
        }
    }

    #[test]
    fn what_turns_clockwise_has_its_tip_on_the_right_at_the_end() {
        // the tip of a triangle points up; what is right of the middle and above the base moves there
        for (turn, side) in [(Turn::Clockwise, 1.0), (Turn::Counterclockwise, -1.0)] {
            let film = film(Shape::Triangle, Position::Center, Action::Turns { turn });
            let last = red(&film[FRAMES as usize - 1]);
            let (left, right) =
                (last.iter().map(|p| p.0).fold(f32::MAX, f32::min), last.iter().map(|p| p.0).fold(f32::MIN, f32::max));
            let column = |x: f32| last.iter().filter(|p| (p.0 - x).abs() < 1.5).count() as f32;
            assert!((column(left) - column(right)) * side > 0.0, "{turn}: the base is on the other side");
        }
    }

    #[test]
    fn what_appears_is_not_there_before() {
        let film = film(Shape::Star, Position::TopLeft, Action::Appears { frame: 4 });
        assert!(film[..4].iter().all(|frame| frame == &film[0]) && red(&film[3]).is_empty());
        assert!(film[4..].iter().all(|frame| frame == &film[4]) && !red(&film[4]).is_empty());
    }
}
