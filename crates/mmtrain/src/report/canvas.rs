//! What all drawings share: size, colours, text and lines.
//!
//! Drawn at twice the size and scaled down, since plotters' bitmap backend does not smooth the edges of what is
//! wider than a pixel. The font is bundled, so that a picture is the same on every machine.

use std::fmt::Display;
use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ReportError;

/// Width and height of the picture in pixels.
const SIZE: (u32, u32) = (1000, 600);
/// How much larger it is drawn.
pub(super) const SCALE: u32 = 2;
/// Left, right, top and bottom edge of the curves in the picture.
pub(super) const LEFT: i32 = 84;
pub(super) const RIGHT: i32 = 958;
pub(super) const TOP: i32 = 70;
pub(super) const BOTTOM: i32 = 530;
/// Middle of the line that holds unit and legend.
pub(super) const HEAD: i32 = 34;

const FAMILY: &str = "Plot Sans";
const FONT: &[u8] = include_bytes!("../../assets/PlotSans-Regular.otf");

pub(super) const INK: RGBColor = RGBColor(28, 29, 33);
pub(super) const SOFT: RGBColor = RGBColor(98, 101, 109);
pub(super) const GRID: RGBColor = RGBColor(232, 232, 228);

pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A drawing as an encoded PNG.
pub(super) fn png(draw: impl FnOnce(&Area) -> Result<(), ReportError>) -> Result<Vec<u8>, ReportError> {
    register_font(FAMILY, FontStyle::Normal, FONT).map_err(|_| failed("bundled font is damaged"))?;
    let (width, height) = (SIZE.0 * SCALE, SIZE.1 * SCALE);
    let mut pixels = vec![255; (width * height * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    let large = RgbImage::from_raw(width, height, pixels).expect("the buffer has three bytes per pixel");
    let picture = imageops::resize(&large, SIZE.0, SIZE.1, FilterType::Triangle);
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

pub(super) fn failed(error: impl Display) -> ReportError {
    ReportError::Draw(error.to_string())
}

pub(super) fn scaled(pixels: i32) -> i32 {
    pixels * SCALE.cast_signed()
}

pub(super) fn line(area: &Area, points: Vec<(i32, i32)>, colour: RGBColor, width: u32) -> Result<(), ReportError> {
    area.draw(&PathElement::new(points, colour.stroke_width(width * SCALE))).map_err(failed)
}

pub(super) fn style(colour: RGBColor, across: HPos, up: VPos) -> TextStyle<'static> {
    (FAMILY, scaled(17)).into_font().color(&colour).pos(Pos::new(across, up))
}

pub(super) fn text(area: &Area, text: &str, place: (i32, i32), style: &TextStyle) -> Result<(), ReportError> {
    area.draw_text(text, style, place).map_err(failed)
}

/// A name that ends at `right`, with its colour before it; returns where the one before ends.
pub(super) fn legend(area: &Area, name: &str, colour: RGBColor, right: i32) -> Result<i32, ReportError> {
    let style = style(INK, HPos::Left, VPos::Center);
    let (width, _) = area.estimate_text_size(name, &style).map_err(failed)?;
    let left = right - width.cast_signed();
    text(area, name, (left, scaled(HEAD)), &style)?;
    line(area, vec![(left - scaled(26), scaled(HEAD)), (left - scaled(8), scaled(HEAD))], colour, 3)?;
    Ok(left - scaled(50))
}
