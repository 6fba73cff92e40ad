//! What has an apostrophe: `do n't`, `'s`, `'em`, `o'brien`.

use super::words::is_word;
use super::{Becomes, Found, begins_with, goes_on, is_apostrophe, run_len};

/// Behind a word; they are tokens of their own.
const ENDINGS: &[&str] = &["'s", "'m", "'d", "'re", "'ve", "'ll"];
/// Words that begin with an apostrophe.
const ELISIONS: &[&str] = &["'em", "'til", "'till", "'cause", "'n'", "'n"];
/// Words with an apostrophe in them, or at their end, that no other rule keeps together.
const WORDS: &[&str] = &["cap'n", "nat'l", "c'mon", "e'er", "li'l"];
const OPEN_WORDS: &[&str] = &["ol'", "jus'", "th'", "wi'", "somethin'", "y'", "d'", "l'", "j'"];

/// `don't`, which becomes `do n't`.
pub(super) fn negation(rest: &[char]) -> Option<Found> {
    let letters = run_len(rest, char::is_alphabetic);
    let before = letters.checked_sub(1)?;
    let negated = begins_with(&rest[before..], "n't") && !goes_on(rest, letters + 2);
    let becomes = if before == 0 { Becomes::Fixed("n't") } else { Becomes::Two(before) };
    negated.then_some(Found { len: letters + 2, becomes })
}

/// `'s` of `dog's`.
pub(super) fn ending(rest: &[char]) -> Option<Found> {
    let ending = ENDINGS.iter().find(|ending| begins_with(rest, ending) && !goes_on(rest, ending.len()))?;
    Some(Found { len: ending.len(), becomes: Becomes::Fixed(ending) })
}

/// `'em`, `'n'`, `'80s`; `'tis` becomes `'t is`.
pub(super) fn elision(rest: &[char]) -> Option<Found> {
    is_apostrophe(*rest.first()?).then_some(())?;
    for two in ["'tis", "'twas"] {
        if begins_with(rest, two) && !goes_on(rest, two.len()) {
            return Some(Found { len: two.len(), becomes: Becomes::Two(2) });
        }
    }
    if let Some(decade) = decade(rest) {
        return Found::itself(decade);
    }
    let elided =
        ELISIONS.iter().find(|word| begins_with(rest, word) && (word.ends_with('\'') || !goes_on(rest, word.len())))?;
    Found::itself(elided.len())
}

/// `'80s`, `'55`; not the inches of `5'10"`.
fn decade(rest: &[char]) -> Option<usize> {
    match rest {
        [_, '2'..='9', '0', 's', ..] if !goes_on(rest, 4) => Some(4),
        [_, '0'..='9', '0'..='9', after @ ..] if after.first().is_none_or(|char| char.is_whitespace()) => Some(3),
        _ => None,
    }
}

/// `O'Brien`, `ma'am`, `cap'n`, `y'` of `y'all`.
pub(super) fn inside(rest: &[char]) -> Option<Found> {
    let listed = WORDS.iter().find(|word| begins_with(rest, word) && !goes_on(rest, word.len()));
    let open = OPEN_WORDS.iter().find(|word| begins_with(rest, word) && ending(&rest[word.len() - 1..]).is_none());
    let listed = listed.or(open).map_or(0, |word| word.len());
    Found::itself(listed.max(between_vowels(rest)).max(name(rest)))
}

/// `ma'am`, `ne'er`, `Hawai'i`.
fn between_vowels(rest: &[char]) -> usize {
    let letters = run_len(rest, char::is_alphabetic);
    match (letters, rest.get(letters.saturating_sub(1)..letters + 2)) {
        (2.., Some([before, mark, after]))
            if is_apostrophe(*mark) && "aeiouyAEIOUY".contains(*before) && "aeiou".contains(*after) =>
        {
            letters + 1 + run_len(&rest[letters + 1..], char::is_alphabetic)
        }
        _ => 0,
    }
}

/// `O'Brien`, `N'Djamena`, `n'est`: one letter, and at least two behind the apostrophe.
fn name(rest: &[char]) -> usize {
    match rest {
        [first, mark, after @ ..] if is_apostrophe(*mark) && (matches!(first, 'A'..='H' | 'J'..='X' | 'Z' | 'n')) => {
            match run_len(after, is_word) {
                len @ 2.. => 2 + len,
                _ => 0,
            }
        }
        _ => 0,
    }
}
