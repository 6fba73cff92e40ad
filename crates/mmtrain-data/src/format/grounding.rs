//! ms-swift's `objects`: names and boxes that stand for `<ref-object>` and `<bbox>` in the text.
//!
//! Boxes are written as its base template has them, `[(x1,y1),(x2,y2)]` in whole numbers: pixels of the file where `bbox_type`
//! is `real`, the default, and thousandths of the picture where it is `norm1`. Deviation: pixels stay pixels (ms-swift makes
//! thousandths of them for some models, which takes the size of the picture).

use mmtrain_text::Turn;

use super::turns::texts_mut;
use crate::cell::Cell;
use crate::sample::Reject;

const NAME: &str = "<ref-object>";
const BOX: &str = "<bbox>";

/// Replaces names and boxes in their order over all turns.
pub(super) fn fill(turns: &mut [Turn], objects: &Cell) -> Result<(), Reject> {
    if objects.is_null() {
        return Ok(());
    }
    let names = objects.get("ref").items().iter().map(|name| name.as_str().map(str::to_owned));
    let names =
        names.collect::<Option<Vec<_>>>().ok_or_else(|| Reject::new("bad_objects", "a name that is no text"))?;
    let scale = scale_of(objects)?;
    let boxes =
        objects.get("bbox").items().iter().map(|numbers| written(numbers, scale)).collect::<Result<Vec<_>, _>>()?;
    replace(turns, NAME, names)?;
    replace(turns, BOX, boxes)
}

fn scale_of(objects: &Cell) -> Result<f64, Reject> {
    match objects.get("bbox_type").as_str() {
        None | Some("real") => Ok(1.0),
        Some("norm1") => Ok(1000.0),
        Some(other) => Err(Reject::new("bad_objects", format!("`bbox_type` is `{other}`, not `real` or `norm1`"))),
    }
}

/// A point or a box.
fn written(numbers: &Cell, scale: f64) -> Result<String, Reject> {
    let values = numbers.items().iter().map(Cell::as_float).collect::<Option<Vec<_>>>();
    let values = values.filter(|values| matches!(values.len(), 2 | 4) && values.iter().all(|value| value.is_finite()));
    let values = values.ok_or_else(|| Reject::new("bad_objects", "a box that is not of 2 or 4 numbers"))?;
    let points = values.chunks(2).map(|point| {
        let [x, y] = [point[0], point[1]].map(|value| (value * scale).round_ties_even() as i64);
        format!("({x},{y})")
    });
    Ok(format!("[{}]", points.collect::<Vec<_>>().join(",")))
}

/// Puts `values` one after the other where `mark` stands; there must be as many.
fn replace(turns: &mut [Turn], mark: &str, values: Vec<String>) -> Result<(), Reject> {
    let have = values.len();
    let mut values = values.into_iter();
    let mut marks = 0;
    for text in turns.iter_mut().flat_map(texts_mut) {
        let mut pieces = text.split(mark);
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            marks += 1;
            filled += &values.next().unwrap_or_default();
            filled += piece;
        }
        *text = filled;
    }
    if marks == have {
        return Ok(());
    }
    Err(Reject::new("bad_objects", format!("{marks} `{mark}` in the text, {have} in `objects`")))
}
