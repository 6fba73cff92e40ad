//! The normal form in which VQA compares answers, after `processPunctuation` and `processDigitArticle` of `vqaEval.py`.

use super::contractions::contraction;

/// Removed or replaced by a blank, in this order.
const PUNCTUATION: &[char] =
    &[';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!'];
/// The script hands the flag `re.UNICODE` to `re.sub` where the number of replacements belongs, and the flag is 32.
const MAX_PERIODS: usize = 32;
const ARTICLES: &[&str] = &["a", "an", "the"];
const NUMBERS: &[(&str, &str)] = &[
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];

/// An answer in lower case, without articles and punctuation, numbers to ten as digits, apostrophes put back.
///
/// Apostrophes, colons and signs like `%` stay, and so does a period before a digit. Punctuation with a blank beside it
/// anywhere in the answer is removed, other punctuation becomes a blank; all of it is removed if there is a comma between
/// digits.
pub fn vqa_normalise(answer: &str) -> String {
    let answer = one_line(answer);
    let bare = without_periods(&without_punctuation(&answer));
    let lower = bare.to_lowercase();
    let words = lower.split(is_space).filter(|word| !word.is_empty());
    let kept: Vec<&str> = words.map(in_digits).filter(|word| !ARTICLES.contains(word)).collect();
    let whole: Vec<&str> = kept.iter().map(|word| contraction(word).unwrap_or(word)).collect();
    whole.join(" ")
}

/// What the script does to all answers, also where it does nothing else: line ends and tabs are blanks, none at the ends.
pub(super) fn one_line(answer: &str) -> String {
    answer.replace(['\n', '\t'], " ").trim_matches(is_space).to_owned()
}

fn without_punctuation(answer: &str) -> String {
    let comma = has_comma_between_digits(answer);
    PUNCTUATION.iter().fold(answer.to_owned(), |text, &sign| {
        let beside_blank = answer.contains(&format!("{sign} ")) || answer.contains(&format!(" {sign}"));
        text.replace(sign, if beside_blank || comma { "" } else { " " })
    })
}

fn has_comma_between_digits(answer: &str) -> bool {
    let digits = |byte: u8| byte.is_ascii_digit();
    answer.as_bytes().windows(3).any(|three| digits(three[0]) && three[1] == b',' && digits(three[2]))
}

fn without_periods(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut removed = 0;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let before_digit = chars.peek().is_some_and(char::is_ascii_digit);
        if char == '.' && !before_digit && removed < MAX_PERIODS {
            removed += 1;
        } else {
            kept.push(char);
        }
    }
    kept
}

fn in_digits(word: &str) -> &str {
    NUMBERS.iter().find(|(name, _)| *name == word).map_or(word, |(_, digits)| digits)
}

/// White space of Python's `str.split`.
fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}
