//! Punctuation, brackets, symbols.

use super::{Becomes, Found, begins_with, goes_on, run_len};

const ENTITIES: &[(&str, Becomes)] = &[
    ("&amp;", Becomes::Fixed("&")),
    ("&lt;", Becomes::Fixed("<")),
    ("&gt;", Becomes::Fixed(">")),
    ("&quot;", Becomes::Nothing),
    ("&nbsp;", Becomes::Nothing),
];

/// `:-)`, `;)`, `:D`, `:|`.
pub(super) fn smiley(rest: &[char]) -> Option<Found> {
    matches!(rest.first()?, ':' | ';' | '=').then_some(())?;
    let nose = usize::from(matches!(rest.get(1)?, '-' | 'o' | '*' | '\''));
    let mouth = *rest.get(1 + nose)?;
    Found::itself(if r"()DPdpO\{@|[]".contains(mouth) && !goes_on(rest, 2 + nose) { 2 + nose } else { 0 })
}

/// `&amp;`.
pub(super) fn entity(rest: &[char]) -> Option<Found> {
    let (name, becomes) = ENTITIES.iter().find(|(name, _)| begins_with(rest, name))?;
    Some(Found { len: name.len(), becomes: *becomes })
}

/// Runs that are one token: `!!`, `?!`, `**`, `##`, `__`, `<<`, five and more hyphens.
pub(super) fn run(rest: &[char]) -> Option<Found> {
    let first = *rest.first()?;
    let same = run_len(rest, |char| char == first);
    match first {
        '!' | '?' => Found::itself(Some(run_len(rest, |char| matches!(char, '!' | '?'))).filter(|len| *len > 1)?),
        '*' | '#' | '_' => Found::itself(same),
        '<' | '>' if same > 1 => Found::itself(2),
        '-' if same > 4 => Found::itself(same),
        '-' | '.' => Some(Found { len: same, becomes: Becomes::Nothing }),
        _ => None,
    }
}

/// One sign. Punctuation, quotation marks and dashes are left out, and so is what is not in the list.
pub(super) fn single(rest: &[char]) -> Option<Found> {
    let becomes = match *rest.first()? {
        '¢' => Becomes::Fixed("cents"),
        '£' => Becomes::Fixed("#"),
        '€' | '¤' | '\u{20a0}' => Becomes::Fixed("$"),
        '¼' => Becomes::Fixed("1/4"),
        '½' => Becomes::Fixed("1/2"),
        '¾' => Becomes::Fixed("3/4"),
        '⅓' => Becomes::Fixed("1/3"),
        '⅔' => Becomes::Fixed("2/3"),
        sign if is_symbol(sign) => Becomes::Itself,
        _ => return None,
    };
    Some(Found { len: 1, becomes })
}

/// Signs that are tokens of their own.
fn is_symbol(char: char) -> bool {
    r"()[]{}$%&+/<=>@\^|~".contains(char) || is_typographic(char) || is_technical(char) || is_of_other_script(char)
}

/// Of Latin-1 and general punctuation; quotation marks and dashes are not among them.
fn is_typographic(char: char) -> bool {
    matches!(char, '¡'..='ª' | '¬'..='º' | '¿' | '×' | '÷' | '\u{2016}' | '\u{2017}' | '\u{201a}')
        || matches!(char, '\u{201e}'..='\u{2023}' | '\u{2030}'..='\u{2038}' | '\u{203b}')
        || matches!(char, '\u{203e}'..='\u{2042}' | '\u{2044}' | '\u{20a4}')
}

/// Raised and lowered digits, signs that look like letters, fractions, arrows, mathematics, drawings.
fn is_technical(char: char) -> bool {
    matches!(char, '\u{2070}' | '\u{2074}'..='\u{208e}' | '\u{2100}'..='\u{214f}')
        || matches!(char, '\u{2155}'..='\u{215e}' | '\u{2190}'..='\u{2bff}')
}

/// Punctuation of Chinese and Japanese, in full width, of Greek, Arabic, Hindi, and the sign of the baht.
fn is_of_other_script(char: char) -> bool {
    matches!(char, '\u{3001}' | '\u{3002}' | '\u{3012}' | '\u{30fb}' | '\u{ff01}'..='\u{ff0f}')
        || matches!(char, '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}' | '\u{ff5b}'..='\u{ff65}')
        || matches!(char, '\u{387}' | '\u{60c}' | '\u{61b}' | '\u{61f}' | '\u{66a}' | '\u{6d4}')
        || matches!(char, '\u{964}' | '\u{965}' | '\u{e3f}')
}
