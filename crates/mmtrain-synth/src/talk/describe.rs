//! Descriptions of a few sentences, in the grammar that `parse.rs` reads.
//!
//! ```text
//! description = overview objects [ relation ] closing          3 to 6 sentences
//! overview    = "The image shows two objects." | "The image shows colored shapes."
//! objects     = up to three sentences, in reading order
//! relation    = "The red circle is above the blue star."
//! closing     = "Nothing else is in the image." | an object that is not there
//! ```

use super::reference::{Attribute, place, refer};
use crate::caption::COUNTS;
use crate::rng::Stream;
use crate::{ObjectTruth, Relation, Size};

/// What asks for a description.
pub(crate) const REQUESTS: [&str; 5] = [
    "Describe the image in detail.",
    "What do you see happening in this image?",
    "Can you describe this image in detail?",
    "Please give a detailed description of the image.",
    "What is in this image?",
];

/// Sentences for the objects, at most.
const OBJECT_SENTENCES: usize = 3;

/// What a description says beside the objects themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The stated number of objects, or none.
    pub(crate) count: Option<usize>,
    /// Named at the end, where else it is said that there is nothing more.
    pub(crate) also: Option<&'a ObjectTruth>,
}

/// Describes `objects`; the same numbers give the same words around other attributes.
pub(crate) fn describe(rng: &mut Stream, objects: &[ObjectTruth], frame: Frame<'_>) -> String {
    let mut sentences = vec![overview(rng, frame.count)];
    let groups = objects.len().clamp(1, OBJECT_SENTENCES);
    for group in 0..groups {
        let part = |end: usize| objects.len() * end / groups;
        sentences.push(object_sentence(rng, &objects[part(group)..part(group + 1)]));
    }
    sentences.extend(relation(objects));
    sentences.push(closing(rng, frame.also));
    sentences.join(" ")
}

fn overview(rng: &mut Stream, count: Option<usize>) -> String {
    let form = rng.below(3);
    match count {
        Some(count) => {
            let noun = if count == 1 { "object" } else { "objects" };
            let count = COUNTS.get(count).copied().unwrap_or("many");
            ["The image shows", "This picture shows", "In this image we see"][form].to_owned()
                + &format!(" {count} {noun}.")
        }
        None => {
            ["The image shows colored shapes.", "This picture shows a simple scene.", "We see a drawing of shapes."]
                [form]
                .to_owned()
        }
    }
}

/// One to three clauses; each draws three numbers, whatever the object.
fn object_sentence(rng: &mut Stream, objects: &[ObjectTruth]) -> String {
    let clauses: Vec<_> = objects.iter().map(|object| clause(rng, object)).collect();
    let text = match clauses.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => clauses.concat(),
    };
    capitalised(&text) + "."
}

fn clause(rng: &mut Stream, object: &ObjectTruth) -> String {
    let thing = thing(rng, object);
    let place = place(object.position);
    match rng.below(3) {
        0 => format!("{thing} is {place}"),
        1 => format!("there is {thing} {place}"),
        _ => format!("{place} there is {thing}"),
    }
}

fn thing(rng: &mut Stream, object: &ObjectTruth) -> String {
    let size = match object.size {
        Size::Small => rng.pick(&["small", "small", "little"]),
        Size::Large => rng.pick(&["large", "large", "big"]),
    };
    format!("a {size} {} {}", object.color, object.shape)
}

/// How the first two objects that have names lie to each other.
fn relation(objects: &[ObjectTruth]) -> Option<String> {
    let name = |index| Some((index, refer(objects, index, Some(Attribute::Position))?));
    let mut named = (0..objects.len()).filter_map(name);
    let ((a, one), (b, other)) = (named.next()?, named.next()?);
    let all = [Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below];
    let relation = all.into_iter().find(|relation| relation.holds(objects[a].position, objects[b].position))?;
    let words = match relation {
        Relation::LeftOf => "to the left of",
        Relation::RightOf => "to the right of",
        Relation::Above => "above",
        Relation::Below => "below",
    };
    Some(format!("The {one} is {words} the {other}."))
}

fn closing(rng: &mut Stream, also: Option<&ObjectTruth>) -> String {
    let form = rng.below(2);
    let thing = also.map(|object| (thing(rng, object), place(object.position)));
    match thing {
        Some((thing, place)) => {
            [format!("There is also {thing} {place}."), capitalised(&format!("{place} there is {thing} as well."))]
                [form]
                .clone()
        }
        None => ["Nothing else is in the image.", "There is nothing else to be seen."][form].to_owned(),
    }
}

/// With a capital at the beginning.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Domain;
    use crate::{SceneKey, SceneTruth, Split, score};

    fn scene(index: u64) -> (SceneTruth, Stream) {
        let key = SceneKey { seed: 5, split: Split::Validation, index, objects: (1, 9) };
        (SceneTruth::sample(&key, 64), Stream::new(&key, Domain::Talk))
    }

    #[test]
    fn descriptions_say_everything_in_three_to_six_sentences() {
        for index in 0..3_000 {
            let (truth, mut rng) = scene(index);
            let count = rng.coin().then_some(truth.objects.len());
            let text = describe(&mut rng, &truth.objects, Frame { count, also: None });
            assert!(score(&text, &truth).is_perfect(), "{text}\n{truth:?}");
            assert!((3..=6).contains(&text.matches('.').count()), "{text}");
        }
    }

    #[test]
    fn an_object_that_is_not_there_is_seen() {
        for index in 0..500 {
            let (truth, mut rng) = scene(index);
            let also = truth.objects[0];
            let text = describe(&mut rng, &truth.objects[1..], Frame { count: None, also: Some(&also) });
            assert!(text.contains(also.shape.name()), "{text}");
            assert!(score(&text, &truth).is_perfect(), "the same objects in another order: {text}");
        }
    }
}
