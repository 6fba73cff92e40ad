//! The grammar of captions: lower case, tokens apart, ending in ` .` as CC3M's do.
//!
//! Every caption states shape, colour, size and place of every object, each object in a clause of its
//! own, in reading order; the rest varies (sentence form, synonyms, a stated count, a relation).
//!
//! ```text
//! caption  = [ intro ] clause { ("and" | ",") clause } [ "; the" ref "is" relation "the" ref ] "."
//! intro    = count "object(s)" ":" | "there is" | "a picture of" | "we see"
//! clause   = "a" size colour shape place | place "there is a" size colour shape
//! ```

use crate::rng::Stream;
use crate::{ObjectTruth, Position, SceneTruth, Size};

/// Words for small numbers, from none.
pub(crate) const COUNTS: [&str; 10] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// Writes a caption that states the whole truth.
pub(crate) fn caption(rng: &mut Stream, truth: &SceneTruth) -> String {
    let count = truth.objects.len();
    let body = match rng.below(6) {
        0 | 1 => clauses(rng, truth, thing_then_place),
        2 => format!("there is {}", clauses(rng, truth, thing_then_place)),
        3 => clauses(rng, truth, place_then_thing),
        4 => {
            let noun = rng.pick(&["object", "shape"]);
            let plural = if count == 1 { "" } else { "s" };
            format!("{} {noun}{plural} : {}", COUNTS[count], clauses(rng, truth, thing_then_place))
        }
        _ => {
            let intro = rng.pick(&["a picture of", "we see"]);
            format!("{intro} {}", clauses(rng, truth, thing_then_place))
        }
    };
    let relation = if rng.coin() { relation_clause(truth) } else { None };
    format!("{body}{} .", relation.unwrap_or_default())
}

fn clauses(rng: &mut Stream, truth: &SceneTruth, clause: fn(&mut Stream, &ObjectTruth) -> String) -> String {
    let clauses: Vec<_> = truth.objects.iter().map(|object| clause(rng, object)).collect();
    match clauses.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(" , ")),
        _ => clauses.concat(),
    }
}

fn thing_then_place(rng: &mut Stream, object: &ObjectTruth) -> String {
    format!("{} {}", thing(rng, object), place(rng, object.position))
}

fn place_then_thing(rng: &mut Stream, object: &ObjectTruth) -> String {
    format!("{} there is {}", place(rng, object.position), thing(rng, object))
}

fn thing(rng: &mut Stream, object: &ObjectTruth) -> String {
    let size = match object.size {
        Size::Small => rng.pick(&["small", "small", "little"]),
        Size::Large => rng.pick(&["large", "large", "big"]),
    };
    format!("a {size} {} {}", object.color, object.shape)
}

fn place(rng: &mut Stream, position: Position) -> String {
    match position {
        Position::Center => rng.pick(&["in the center", "in the middle"]).to_owned(),
        Position::Top | Position::Bottom => format!("at the {position}"),
        Position::Left | Position::Right => format!("on the {position}"),
        corner => match rng.below(3) {
            0 => format!("in the {corner}"),
            1 => format!("at the {corner}"),
            _ => format!("in the {corner} corner"),
        },
    }
}

/// `None` where no relation is known, or the two objects cannot be told apart in words.
fn relation_clause(truth: &SceneTruth) -> Option<String> {
    let relation = truth.relation.as_ref()?;
    let (a, b) = (truth.objects.get(relation.subject)?, truth.objects.get(relation.object)?);
    let refer: fn(&ObjectTruth) -> String = if a.shape != b.shape {
        |o| o.shape.to_string()
    } else if a.color != b.color {
        |o| format!("{} {}", o.color, o.shape)
    } else if a.size != b.size {
        |o| format!("{} {}", o.size, o.shape)
    } else {
        return None;
    };
    Some(format!(" ; the {} is {} the {}", refer(a), relation.relation.name(), refer(b)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{Relation, Split, scene_image};

    #[test]
    fn captions_look_like_cc3m() {
        for index in 0..500 {
            let (_, truth, caption) = scene_image(4, Split::Train, index, 32);
            assert!(caption.ends_with(" ."), "{caption}");
            assert_eq!(caption, caption.to_lowercase());
            assert!(!caption.contains("  "), "{caption}");
            for object in truth.objects {
                assert!(caption.contains(object.shape.name()), "{caption}");
                assert!(caption.contains(object.color.name()), "{caption}");
            }
        }
    }

    #[test]
    fn the_grammar_varies() {
        let opening = |index| {
            let (_, _, caption) = scene_image(4, Split::Train, index, 32);
            caption.split(' ').take(3).collect::<Vec<_>>().join(" ")
        };
        let openings: BTreeSet<_> = (0..500).map(opening).collect();
        assert!(openings.len() > 30, "{} openings", openings.len());
    }

    #[test]
    fn stated_relations_are_true() {
        for index in 0..1_000 {
            let (_, truth, caption) = scene_image(4, Split::Train, index, 32);
            let Some(relation) = truth.relation else { continue };
            let cells = [relation.subject, relation.object].map(|i| truth.objects[i].position);
            assert!(relation.relation.holds(cells[0], cells[1]), "{caption}");
            let wrong = [Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below]
                .into_iter()
                .filter(|r| *r != relation.relation);
            for wrong in wrong {
                assert!(!caption.contains(&format!(" is {} ", wrong.name())), "{caption}");
            }
        }
    }
}
