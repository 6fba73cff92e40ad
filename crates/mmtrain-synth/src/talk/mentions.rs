//! What a description names.

use crate::clip::ClipTruth;
use crate::{Color, ParsedObject, SceneTruth, Shape, parse_caption};

/// Objects that a description names. The share of invented ones over all descriptions, and the share of
/// descriptions with an invented one, are the two rates of CHAIR (Rohrbach et al. 2018).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentions {
    /// Objects that are named.
    pub named: usize,
    /// Those of them that are not there: no object has this colour and shape, as far as they are stated.
    pub invented: Vec<ParsedObject>,
}

impl Mentions {
    /// Of a picture.
    pub(crate) fn of_scene(description: &str, scene: &SceneTruth) -> Self {
        let there: Vec<_> = scene.objects.iter().map(|object| (object.color, object.shape)).collect();
        Self::count(description, &there)
    }

    /// Of a clip.
    pub(crate) fn of_clip(description: &str, clip: &ClipTruth) -> Self {
        let there: Vec<_> = clip.objects.iter().map(|object| (object.color, object.shape)).collect();
        Self::count(description, &there)
    }

    fn count(description: &str, there: &[(Color, Shape)]) -> Self {
        let named: Vec<_> = parse_caption(description).objects.into_iter().filter(|o| o.shape.is_some()).collect();
        let is_there = |said: &ParsedObject| {
            let mut fitting = there.iter().filter(|(_, shape)| said.shape == Some(*shape));
            fitting.any(|(color, _)| said.color.is_none_or(|said| said == *color))
        };
        let invented = named.iter().copied().filter(|said| !is_there(said)).collect();
        Self { named: named.len(), invented }
    }
}
