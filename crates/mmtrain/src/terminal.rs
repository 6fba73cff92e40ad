//! Text on its way to a terminal or a log.

use std::borrow::Cow;

/// Marks that turn the order of what is shown around them (Unicode, UAX 9).
const DIRECTIONS: [char; 9] =
    ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'];

/// `text` with control characters spelled out, but for ends of lines and tabs: names and words come from data and could steer
/// a terminal or make up lines of a log.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if steers(character) { safe.extend(character.escape_default()) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

/// As [`printable`], ends of lines and tabs spelled out as well: for words from data in lists that have a line for each.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace('\n', r"\n").replace('\t', r"\t")
}

/// As [`printable`], of addresses without what stands before their host and behind their `?`: those may be secrets.
pub(crate) fn said(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return printable(text);
    }
    let mut open = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        open.push_str(before);
        let is_end = |character: char| character.is_whitespace() || "`'\"<>|".contains(character);
        let (address, behind) = address.split_at(address.find(is_end).unwrap_or(address.len()));
        let (place, asked) =
            address.split_once('?').map_or((address, false), |(place, asked)| (place, !asked.is_empty()));
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        open.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
        open.push_str(path);
        open.push_str(if asked { "?…" } else { &address[place.len()..] });
        rest = behind;
    }
    open.push_str(rest);
    Cow::Owned(printable(&open).into_owned())
}

fn steers(character: char) -> bool {
    character.is_control() && character != '\n' && character != '\t' || DIRECTIONS.contains(&character)
}

/// A word of a command line for `sh`, quoted where it has to be.
pub(crate) fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_alphanumeric() || "_-./=:@%+,".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelled_out_and_the_rest_stays() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{7}"), r"a\u{1b}[2Jb\r\u{7}");
        assert_eq!(printable("\u{9b}31m\u{7f}\u{202e}x"), r"\u{9b}31m\u{7f}\u{202e}x");
        let plain = "two lines\n\tof Grüße, 空, 👍\n";
        assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn of_addresses_no_secrets_are_shown() {
        for (text, shown) in [
            ("get `https://u:PW@h.org/x?sig=S` and s3://b/k?v=1 now", "get `https://h.org/x?…` and s3://b/k?… now"),
            ("https://a@b@h:80?t=1", "https://h:80?…"),
            ("is it http://h/x? yes, \u{1b}", "is it http://h/x? yes, \\u{1b}"),
            ("a://b/c@d.tar", "a://b/c@d.tar"),
            ("no address ?x", "no address ?x"),
        ] {
            assert_eq!(said(text), shown);
        }
        assert_eq!(one_line("x\nerror: \tfire\u{7}"), r"x\nerror: \tfire\u{7}");
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        assert_eq!(shell_word("checkpoints/run-2"), "checkpoints/run-2");
        assert_eq!(shell_word("my run"), "'my run'");
        assert_eq!(shell_word("it's;rm"), r"'it'\''s;rm'");
        assert_eq!(shell_word(""), "''");
    }
}
