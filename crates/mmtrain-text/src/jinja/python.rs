//! What chat templates expect of Python: `tojson` as `json.dumps` writes it, and dates.

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::bounded::{self, Bounded};

/// `tojson(value, indent=…)` of `transformers`: not escaped for HTML, blanks behind `,` and `:`.
#[expect(clippy::needless_pass_by_value, reason = "filters own their arguments")]
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    bounded::check(value)?;
    let mut out = Bounded::default();
    let written = match indent {
        Some(width) => {
            let blanks = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(blanks.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
    };
    let failed = |error: String| Error::new(ErrorKind::InvalidOperation, format!("`tojson` failed: {error}"));
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(out.into_bytes()).map(Value::from_safe_string).map_err(|error| failed(error.to_string()))
}

/// The separators of `json.dumps`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.begin_array_value(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// What templates are told when they ask for today: 26 July 2024, a Friday, which Llama 3's template takes when there is no
/// clock. Deviation from `transformers`: what a model is trained on must not depend on the day of the run.
pub(super) fn strftime_now(format: &str) -> String {
    let mut date = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            date.push(c);
            continue;
        }
        match chars.next() {
            Some('-') => date.push_str(field(chars.next()).trim_start_matches('0')),
            code => date.push_str(field(code)),
        }
    }
    date
}

fn field(code: Option<char>) -> &'static str {
    match code {
        Some('d') => "26",
        Some('m') => "07",
        Some('b' | 'h') => "Jul",
        Some('B') => "July",
        Some('y') => "24",
        Some('Y') => "2024",
        Some('a') => "Fri",
        Some('A') => "Friday",
        Some('F') => "2024-07-26",
        Some('H' | 'M' | 'S') => "00",
        Some('%') => "%",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_looks_like_pythons() {
        let mut environment = minijinja::Environment::new();
        environment.add_filter("tojson", tojson);
        let render = |source| environment.render_str(source, ()).expect("text");
        assert_eq!(render("{{ {'a': [1, '<ü>'], 'b': none} | tojson }}"), r#"{"a": [1, "<ü>"], "b": null}"#);
        assert_eq!(render("{{ [1] | tojson(indent=2) }}"), "[\n  1\n]");
    }

    #[test]
    fn the_date_is_always_the_same() {
        assert_eq!(strftime_now("%d %b %Y"), "26 Jul 2024");
        assert_eq!(strftime_now("%Y-%m-%d %A, %-d %%"), "2024-07-26 Friday, 26 %");
    }
}
