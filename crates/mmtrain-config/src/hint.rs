//! Did you mean: the nearest known name to one that is not known.

use crate::shape::{self, Field, Table, join};

/// The word of `words` that `word` is most likely a misspelling of.
pub(crate) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = words.into_iter().map(|known| (similarity(word, known), known));
    let best = scored.filter(|(score, _)| *score >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, known)| known)
}

/// 1 for equal words, 0 for words with nothing in common; `-` counts as `_`, one word inside the other counts much.
fn similarity(word: &str, known: &str) -> f64 {
    let word = word.to_lowercase().replace('-', "_");
    let edits = strsim::normalized_damerau_levenshtein(&word, known);
    let shorter = word.len().min(known.len());
    let inside = shorter >= 4 && (word.contains(known) || known.contains(&word));
    if inside { edits.max(0.65) } else { edits }
}

/// What to write in place of the unknown key `name` in the table at `path`.
///
/// A name that other tools use wins over a name that merely looks alike.
pub(crate) fn for_unknown_key(path: &str, name: &str, table: &Table) -> Option<String> {
    let names = || table.fields.iter().map(|field| field.name.as_str());
    let here = |known: &str| format!("did you mean `{}`?", join(path, known));
    let same = table.fields.iter().find(|field| also(field, name));
    same.map(|field| here(&field.name))
        .or_else(|| elsewhere(|field| also(field, name)))
        .or_else(|| closest(name, table).map(|field| here(&field.name)))
        .or_else(|| nearest(name, names()).map(here))
        .or_else(|| elsewhere(|field| closeness(name, field) >= CLOSE))
        .or_else(|| known_here(path, table))
}

/// What to do where none of the keys of the table at `path` is set of which one is needed.
pub(crate) fn for_nothing_set(path: &str) -> Option<String> {
    let brings_a_model = path == "model.decoder";
    brings_a_model
        .then(|| "a stage that starts from a model takes its parts: name it with `--init RUN|CKPT|HF_DIR`".to_owned())
}

fn also(field: &Field, name: &str) -> bool {
    field.name == name || field.also.iter().any(|other| other == name)
}

/// The keys of the whole configuration that match, if they are few.
fn elsewhere(matches: impl Fn(&Field) -> bool) -> Option<String> {
    let found = shape::all_keys().iter().filter(|(_, field)| matches(field));
    let found: Vec<_> = found.map(|(path, _)| format!("`{path}`")).collect();
    (1..=4).contains(&found.len()).then(|| format!("did you mean {}?", one_of(&found)))
}

/// The field that is nearly called so, here or by other tools.
fn closest<'a>(name: &str, table: &'a Table) -> Option<&'a Field> {
    let close = table.fields.iter().map(|field| (closeness(name, field), field)).filter(|(score, _)| *score >= CLOSE);
    close.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, field)| field)
}

/// Far from its place, a name has to be nearly the same; those of other tools may be misspelt too.
const CLOSE: f64 = 0.8;

fn closeness(name: &str, field: &Field) -> f64 {
    let names = std::iter::once(&field.name).chain(&field.also);
    let name = name.to_lowercase().replace('-', "_");
    names.map(|known| strsim::normalized_damerau_levenshtein(&name, known)).fold(0.0, f64::max)
}

fn known_here(path: &str, table: &Table) -> Option<String> {
    let names: Vec<_> = table.fields.iter().map(|field| format!("`{}`", field.name)).collect();
    let place = if path.is_empty() { "at the top".to_owned() } else { format!("in `{path}`") };
    (!names.is_empty()).then(|| format!("known keys {place}: {}", names.join(", ")))
}

/// `a`, `b` or `c`.
pub(crate) fn one_of(words: &[String]) -> String {
    joined(words, "or")
}

/// `a`, `b` and `c`.
pub(crate) fn all_of(words: &[String]) -> String {
    joined(words, "and")
}

fn joined(words: &[String], before_last: &str) -> String {
    match words {
        [] => String::new(),
        [word] => word.clone(),
        [most @ .., last] => format!("{} {before_last} {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[track_caller]
    fn check(path: &str, name: &str, expected: &str) {
        let shape = path.split('.').filter(|name| !name.is_empty()).fold(shape::root(), |shape, name| match shape {
            Shape::List(item) => item,
            shape => &shape.table(None).and_then(|table| table.field(name)).expect(path).shape,
        });
        let table = shape.table(None).expect(path);
        assert_eq!(for_unknown_key(path, name, table).as_deref(), Some(expected));
    }

    #[test]
    fn a_misspelling_is_answered_with_the_sibling() {
        check("train", "global_batchsize", "did you mean `train.global_batch_size`?");
        check("train", "max-grad-norm", "did you mean `train.max_grad_norm`?");
        check(
            "",
            "optim",
            "known keys at the top: `data`, `model`, `train`, `objective`, `schedule`, `checkpoint`, `eval`",
        );
        check("data.sources.0", "nmae", "did you mean `data.sources.0.name`?");
    }

    #[test]
    fn the_names_of_other_tools_are_understood() {
        check("train", "max_steps", "did you mean `train.steps`?");
        check("train", "gradient_accumulation_steps", "did you mean `train.micro_batch_size`?");
        check("train", "save_steps", "did you mean `checkpoint.every`?");
        check(
            "train",
            "learning_rate",
            "did you mean `train.encoder.tuning.full.lr`, `train.connector.tuning.full.lr` or `train.decoder.tuning.full.lr`?",
        );
    }

    #[test]
    fn the_names_of_other_tools_may_be_misspelt() {
        let rates = "did you mean `train.encoder.tuning.full.lr`, `train.connector.tuning.full.lr` or `train.decoder.tuning.full.lr`?";
        check("train", "lerning_rate", rates);
        check("train", "learning-rte", rates);
        check("train", "save_step", "did you mean `checkpoint.every`?");
        check("train", "gradient_acumulation_steps", "did you mean `train.micro_batch_size`?");
    }

    #[test]
    fn a_key_in_the_wrong_table_is_answered_with_the_right_one() {
        check("train", "max_seq", "did you mean `data.max_seq`?");
        check("schedule", "max_grad_nrom", "did you mean `train.max_grad_norm`?");
    }

    /// Every table of the configuration with its path; of tables with a `kind` each kind by itself.
    fn tables(shape: &'static Shape, path: &str) -> Vec<(String, &'static Table)> {
        match shape {
            Shape::Table(table) | Shape::Keyed { tables: table, .. } => with_those_below(table, path),
            Shape::Kinds(kinds) => kinds.iter().flat_map(|(_, table)| with_those_below(table, path)).collect(),
            Shape::List(item) => tables(item, &join(path, "0")),
            _ => Vec::new(),
        }
    }

    fn with_those_below(table: &'static Table, path: &str) -> Vec<(String, &'static Table)> {
        let below = table.fields.iter().flat_map(|field| tables(&field.shape, &join(path, &field.name)));
        std::iter::once((path.to_owned(), table)).chain(below).collect()
    }

    /// Every name that is one slip of the fingers away: a letter left out, doubled, replaced, put in, or two that changed places.
    fn slips(name: &str) -> Vec<String> {
        let letters = name.chars().collect::<Vec<_>>();
        let text = |letters: &[char]| letters.iter().collect::<String>();
        let mut slips = Vec::new();
        for at in 0..letters.len() {
            let (before, rest) = letters.split_at(at);
            slips.push(text(&[before, &rest[1..]].concat()));
            slips.push(text(&[before, &rest[..1], rest].concat()));
            slips.push(text(&[before, &['x'], &rest[1..]].concat()));
            slips.push(text(&[before, &['x'], rest].concat()));
            if rest.len() > 1 {
                slips.push(text(&[before, &[rest[1], rest[0]], &rest[2..]].concat()));
            }
        }
        slips.retain(|slip| slip != name && !slip.is_empty());
        slips.sort();
        slips.dedup();
        slips
    }

    #[test]
    fn a_slip_in_any_key_is_refused_and_answered_with_the_key() {
        let (mut all, mut right, mut wrong) = (0, 0, Vec::new());
        for (path, table) in tables(shape::root(), "") {
            for field in &table.fields {
                for slip in slips(&field.name).into_iter().filter(|slip| table.field(slip).is_none()) {
                    let said = for_unknown_key(&path, &slip, table).unwrap_or_default();
                    all += 1;
                    if said == format!("did you mean `{}`?", join(&path, &field.name)) {
                        right += 1;
                    } else {
                        wrong.push(format!("{path}: `{slip}` for `{}`: {said}", field.name));
                    }
                }
            }
        }
        assert!(all > 5_000, "{all} slips");
        let share = f64::from(right) / f64::from(all);
        assert!(share >= 0.99, "{right} of {all} are right; wrong are, for one:\n{}", wrong.join("\n"));
    }
}
