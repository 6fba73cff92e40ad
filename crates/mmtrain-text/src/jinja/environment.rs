//! The environment in which chat templates run: that of `transformers`' `chat_template_utils.py`, with bounds.
//!
//! A template comes with a checkpoint and is not trusted: it can read no file and no other template, and its work, the bytes
//! it makes included, is paid from [`FUEL`].

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind};

use super::bounded;
use super::python::{strftime_now, tojson};
use super::shield::{LEARN_FROM, LEARN_TO, is_mark};
use crate::TextError;
use crate::guard::with_deep_stack;

/// The work that one rendering may cost, in `minijinja`'s unit of an instruction or 64 bytes made.
pub(super) const FUEL: u64 = 1_000_000;
/// Macros that call each other, at most.
const MAX_RECURSION: usize = 100;
/// The longest template, in bytes.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// The name under which the template is known in error messages of the engine.
pub(super) const TEMPLATE: &str = "chat_template";

/// An environment that holds the template `source`.
pub(super) fn environment(name: &str, source: &str) -> Result<Environment<'static>, TextError> {
    let failed = |detail: String| TextError::ChatTemplate { template: name.to_owned(), detail };
    if source.len() > MAX_SOURCE_BYTES {
        return Err(failed(format!("{} bytes, at most {MAX_SOURCE_BYTES} are read", source.len())));
    }
    if source.contains(is_mark) {
        return Err(failed("it contains characters from U+10FFF0 to U+10FFF5, which are used as marks".into()));
    }
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| failed(error.to_string()))?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(bounded::print);
    environment.add_filter("string", bounded::string);
    environment.add_filter("tojson", tojson);
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("raise_exception", raise_exception);
    let source = with_marks(source);
    let compiled = with_deep_stack(|| {
        environment.add_template_owned(TEMPLATE, source).map_err(|error| describe(&error))?;
        Ok(environment)
    });
    compiled.and_then(|environment| environment).map_err(failed)
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// What went wrong and in which line.
pub(super) fn describe(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{detail} (line {line})"),
        None => detail,
    }
}

/// Whether the template says itself what is learned.
pub(super) fn has_generation_tags(source: &str) -> bool {
    next_tag(source).is_some()
}

/// `{% generation %}` and `{% endgeneration %}` turned into marks in the output. The mark stands inside a block that is always
/// taken, so that white space around the tags is cut as for any other block.
fn with_marks(source: &str) -> String {
    let (mut marked, mut rest) = (String::with_capacity(source.len()), source);
    while let Some(tag) = next_tag(rest) {
        let mark = if tag.opens { LEARN_FROM } else { LEARN_TO };
        marked.push_str(&rest[..tag.range.start]);
        let block = format!("{{%{} if true %}}{mark}{{% endif {}%}}", tag.left, tag.right);
        marked.push_str(&block);
        rest = &rest[tag.range.end..];
    }
    marked + rest
}

/// A tag around what is learned.
struct Tag<'a> {
    opens: bool,
    /// White-space control at the left and at the right: `-`, `+` or nothing.
    left: &'a str,
    right: &'a str,
    range: std::ops::Range<usize>,
}

fn next_tag(source: &str) -> Option<Tag<'_>> {
    source.match_indices("{%").find_map(|(start, _)| {
        let (left, rest) = control(&source[start + 2..]);
        let rest = rest.trim_start();
        let (opens, rest) = match rest.strip_prefix("generation") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("endgeneration")?),
        };
        let (right, rest) = control(rest.trim_start());
        let end = source.len() - rest.strip_prefix("%}")?.len();
        Some(Tag { opens, left, right, range: start..end })
    })
}

/// A leading `-` or `+`, and what follows.
fn control(text: &str) -> (&str, &str) {
    text.split_at(usize::from(text.starts_with(['-', '+'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, String> {
        let environment = environment("test", source).map_err(|error| error.to_string())?;
        let template = environment.get_template(TEMPLATE).map_err(|error| error.to_string())?;
        template.render(()).map_err(|error| describe(&error))
    }

    #[test]
    fn white_space_around_generation_tags_is_that_of_blocks() {
        let rendered = render("a\n  {% generation %}\nb\n{%- endgeneration -%}  \nc").expect("text");
        assert_eq!(rendered, format!("a\n{LEARN_FROM}b{LEARN_TO}c"));
        assert!(!has_generation_tags("{{ '{% generations %}' }}"));
    }

    #[test]
    fn python_methods_and_namespaces_work() {
        let source = "{% set ns = namespace(n=1) %}{% for x in 'a b'.split(' ') %}{% if loop.first %}{% continue %}{% endif %}\
                      {% set ns.n = ns.n + 1 %}{{ x.upper() }}{{ ns.n }}{% endfor %}{{ {'a': 1} | tojson }}";
        assert_eq!(render(source).expect("text"), "B2{\"a\": 1}");
    }

    #[test]
    fn a_template_says_why_it_refuses() {
        assert_eq!(render("\n{{ raise_exception('only users') }}"), Err("only users (line 2)".into()));
    }

    #[test]
    fn endless_and_huge_templates_end_in_an_error_soon() {
        let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}";
        let doubled = "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
        let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        let filtered = format!("{{{{ 'x'{} }}}}", "|e".repeat(130_000));
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000));
        let long = "{{ '-' * 10000000000 }}".to_owned();
        let repeated = "{{ [1] * 99999999 }}".to_owned();
        let nested_lists = "{{ [[1] * 99999999] * 99999999 }}".to_owned();
        let kept = "{% set x %}{{ [[1] * 99999999] * 99999999 }}{% endset %}".to_owned();
        let in_json = "{{ ([[1] * 99999999] * 99999999) | tojson }}".to_owned();
        let in_words = "{{ ([[1] * 99999999] * 99999999) | string }}".to_owned();
        let depths =
            "{% set ns = namespace(a=1) %}{% for i in range(5000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}";
        let laughs = format!(
            "{{% set a = 'x' * 1000 %}}{}{{{{ a }}}}",
            "{% set a = [a, a, a, a, a, a, a, a, a, a] %}".repeat(12)
        );
        let summed = format!("{{{{ 1{} }}}}", "+1".repeat(130_000));
        let sources = [nested.to_owned(), doubled.to_owned(), recursive.to_owned(), filtered, deep, long, summed];
        let described = [repeated, nested_lists, kept, in_json, in_words, depths.to_owned(), laughs];
        for source in sources.into_iter().chain(described) {
            let start = std::time::Instant::now();
            let result = render(&source);
            assert!(start.elapsed().as_secs_f32() < 1.0, "{source:.60}");
            assert!(result.is_err() || source.len() > 200_000, "{source:.60}");
        }
    }

    #[test]
    fn other_files_cannot_be_read() {
        assert!(render("{% include '/etc/hostname' %}").is_err());
    }
}
