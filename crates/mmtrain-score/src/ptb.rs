//! The tokenizer of caption scores: `PTBTokenizer` of `pycocoevalcap`, which runs Stanford's lexer (CoreNLP 3.4.1) with
//! `-preserveLines -lowerCase` and then drops punctuation.
//!
//! The lexer is a generated automaton with hundreds of rules. Here are those that captions and answers meet, found by
//! trying and held to [fixtures](../../../tests/fixtures/scores): at each place the longest rule wins, of equal ones the first.
//! Left out are telephone numbers with blanks, most emoticons, numeric entities, `US$`, `C++`, addresses of the web beyond the
//! plain ones, and letters newer than Unicode 6.1. Each text is read for itself, while the lexer looks on into the next
//! caption: one that ends in `No.` keeps the period there if the next begins with a digit.

mod abbreviations;
mod apostrophes;
mod signs;
mod words;

/// A rule: what it finds at the beginning of `rest`.
type Rule = fn(&[char]) -> Option<Found>;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// In characters.
    len: usize,
    becomes: Becomes,
}

/// Which tokens it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// Itself, in lower case.
    Itself,
    /// The first so many characters and the others.
    Two(usize),
    /// Something else.
    Fixed(&'static str),
    /// It is left out.
    Nothing,
}

impl Found {
    fn itself(len: usize) -> Option<Self> {
        (len > 0).then_some(Self { len, becomes: Becomes::Itself })
    }
}

const RULES: &[Rule] = &[
    words::fused,
    words::word,
    words::joined,
    words::slashed,
    words::number,
    words::fraction,
    words::link,
    words::named,
    words::tag,
    abbreviations::acronym,
    abbreviations::abbreviation,
    abbreviations::within_sentence,
    abbreviations::initial,
    abbreviations::ampersand,
    apostrophes::negation,
    apostrophes::ending,
    apostrophes::elision,
    apostrophes::inside,
    signs::smiley,
    signs::entity,
    signs::run,
    signs::single,
];

/// The tokens of a text, parted by blanks: words in lower case, without punctuation. An empty text if there are none.
///
/// As there, brackets become tokens that stay (`-lrb-` for `(`: the list of punctuation has them in capitals), and so do
/// `&`, `%`, `#` and runs like `!!`; `don't` becomes `do n't`, `dog's` becomes `dog 's`. A number with a fraction is one token with
/// a no-break space in it.
pub fn ptb_tokenize(text: &str) -> String {
    // The lexer takes soft hyphens out of words.
    let chars: Vec<char> = text.chars().filter(|char| *char != '\u{ad}').collect();
    let mut tokens = Vec::new();
    let mut rest = &chars[..];
    while !rest.is_empty() {
        // What no rule knows is left out and parts words: blanks, emoji, control characters.
        let found = longest(rest).unwrap_or(Found { len: 1, becomes: Becomes::Nothing });
        push(&mut tokens, &rest[..found.len], found.becomes);
        rest = &rest[found.len..];
    }
    tokens.join(" ")
}

fn longest(rest: &[char]) -> Option<Found> {
    RULES.iter().rev().filter_map(|rule| rule(rest)).max_by_key(|found| found.len)
}

fn push(tokens: &mut Vec<String>, chars: &[char], becomes: Becomes) {
    match becomes {
        Becomes::Itself => tokens.push(lower(chars)),
        Becomes::Two(at) => tokens.extend([&chars[..at], &chars[at..]].map(|part| lower(part).replace('’', "'"))),
        Becomes::Fixed(token) => tokens.push(token.to_owned()),
        Becomes::Nothing => {}
    }
}

fn lower(chars: &[char]) -> String {
    chars
        .iter()
        .fold(String::new(), |token, char| match char {
            ' ' => token + "\u{a0}",
            '(' => token + "-lrb-",
            ')' => token + "-rrb-",
            '[' => token + "-lsb-",
            ']' => token + "-rsb-",
            '{' => token + "-lcb-",
            '}' => token + "-rcb-",
            other => token + &other.to_string(),
        })
        .to_lowercase()
}

fn is_apostrophe(char: char) -> bool {
    matches!(char, '\'' | '’')
}

/// Length of the run at the beginning for which `is` holds.
fn run_len(chars: &[char], is: impl Fn(char) -> bool) -> usize {
    chars.iter().take_while(|char| is(**char)).count()
}

/// Whether the text goes on with a letter or digit at `at`.
fn goes_on(rest: &[char], at: usize) -> bool {
    rest.get(at).copied().is_some_and(words::is_word)
}

/// Whether `rest` begins with `pattern`, which is in lower case; an apostrophe stands for both kinds.
fn begins_with(rest: &[char], pattern: &str) -> bool {
    let mut chars = rest.iter();
    pattern.chars().all(|expected| {
        chars
            .next()
            .is_some_and(|&char| char.to_ascii_lowercase() == expected || expected == '\'' && is_apostrophe(char))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn captions_become_words_in_lower_case_without_punctuation() {
        assert_eq!(ptb_tokenize("A man, a dog -- and \"two\" cats."), "a man a dog and two cats");
        assert_eq!(ptb_tokenize("The dog's toy isn't red; it cannot be."), "the dog 's toy is n't red it can not be");
        assert_eq!(
            ptb_tokenize("A black-and-white T-shirt (size 10)"),
            "a black-and-white t-shirt -lrb- size 10 -rrb-"
        );
        assert_eq!(
            ptb_tokenize("Mr. Smith left the U.S. at 12:30 p.m. today."),
            "mr. smith left the u.s. at 12:30 p.m. today"
        );
        assert_eq!(ptb_tokenize(" . … 😀 \n"), "");
    }

    proptest! {
        #[test]
        fn any_text_becomes_tokens_that_are_parted_by_single_blanks(text in "\\PC*") {
            let tokenized = ptb_tokenize(&text);
            prop_assert!(tokenized.is_empty() || tokenized.split(' ').all(|token| !token.is_empty()));
        }

        #[test]
        fn plain_words_stay(words in prop::collection::vec("[b-hj-z]{4,9}x", 0..12)) {
            prop_assert_eq!(ptb_tokenize(&words.join(" ")), words.join(" "));
        }
    }
}
