//! Text for the page: escaping, data URIs, numbers.

use std::fmt::Write;

/// Text that means itself in HTML, between tags and in quoted attributes.
///
/// Control characters, which captions of a model in training may hold, become U+FFFD.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            char => html.push(printable(char)),
        }
    }
    html
}

fn printable(char: char) -> char {
    if char.is_control() && !matches!(char, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { char }
}

/// A file as a `data:` URI.
pub(crate) fn data_uri(mime: &str, bytes: &[u8]) -> String {
    format!("data:{};base64,{}", escaped(mime), base64(bytes))
}

/// Base64 with padding, RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = group >> (18 - 6 * digit) & 63;
            text.push(if digit > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured number with about four significant digits: `12,345`, `96.2`, `0.8412`, `3.1e-5`.
pub(super) fn measured(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => value.to_string(),
        0.0 => "0".into(),
        size if size < 1e-3 => scientific(value),
        size if size < 10.0 => format!("{value:.4}"),
        size if size < 1000.0 => format!("{value:.1}"),
        size if size < 1e15 => format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(size.round() as u64)),
        _ => scientific(value),
    }
}

/// `0.001` as `1e-3`, `0.00025` as `2.5e-4`, `0` as `0`.
pub(super) fn scientific(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let text = format!("{value:.2e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// `0.9312` as `93.1 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Whether a result of an evaluation is a share from 0 to 1.
pub(super) fn is_share(name: &str) -> bool {
    name.ends_with("accuracy") || name.ends_with("exact_match")
}

/// Appends formatted text; a `String` takes all of it.
pub(crate) fn push(text: &mut String, arguments: std::fmt::Arguments) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_means_itself() {
        assert_eq!(
            escaped(r#"<script>alert("a" & 'b')</script>"#),
            "&lt;script&gt;alert(&quot;a&quot; &amp; &#39;b&#39;)&lt;/script&gt;"
        );
    }

    #[test]
    fn control_characters_do_not_come_through() {
        assert_eq!(escaped("a\0b\x1b[2J\nc"), "a\u{fffd}b\u{fffd}[2J\nc");
        assert_eq!(escaped("\u{9b}31m\ttab"), "\u{fffd}31m\ttab");
    }

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfb, 0xef]), "//vv");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let numbers = [0.0, 3.14e-5, 0.84123, 96.23, 12_345.4, -12_345.4, 2e20, f64::NAN, f64::INFINITY];
        let texts = ["0", "3.14e-5", "0.8412", "96.2", "12,345", "-12,345", "2e20", "NaN", "inf"];
        assert_eq!(numbers.map(measured), texts);
        assert_eq!([1e-3, 2.5e-4, 0.0].map(scientific), ["1e-3", "2.5e-4", "0"]);
    }
}
